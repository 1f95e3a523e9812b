"""Layouts that are kept: never asked for in vain, and never shown when they are no longer true."""

from collections.abc import AsyncIterator

import pytest

from hilum.core.errors import NotFound
from hilum.index import layouts
from hilum.index.catalogue import Catalogue
from hilum.index.changes import Changes
from hilum.index.database import Database
from hilum.index.instance_writer import Write
from hilum.index.writer import Writer
from tests.integration.objects import instance

STUDY = "1.2"


@pytest.fixture
async def sharing(database: Database, mongodb_uri: str) -> AsyncIterator[Database]:
    """The test's database for those who tell each other of changes."""
    sharing = Database.connect(mongodb_uri, database.raw.name, changes=Changes())
    yield sharing
    sharing.close()


async def store(database: Database, uid: str) -> None:
    assert (await Writer(database).write([Write(instance(uid, study=STUDY))])).lost == []


async def shown(catalogue: Catalogue) -> set[str]:
    layout = await catalogue.study_frames(STUDY)
    return {each.identity.sop_instance_uid for each in layout.instances}


async def test_what_another_worker_reported_stored_is_shown_at_once(sharing: Database) -> None:
    """One catalogue, and so one kept layout; every write is another worker's."""
    catalogue = Catalogue(sharing)
    uids: set[str] = set()
    for number in range(20):
        uids.add(f"1.2.{number}")
        await store(sharing, f"1.2.{number}")
        assert await shown(catalogue) == uids
        assert await catalogue.study_frames(STUDY) is await catalogue.study_frames(STUDY)


async def test_mongodb_is_not_asked_while_the_mark_is_the_same(
    sharing: Database, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layouts, "_TRUST_SECONDS", 3600)
    catalogue = Catalogue(sharing)
    await store(sharing, "1.2.1")
    assert await shown(catalogue) == {"1.2.1"}
    await store(database, "1.2.2")  # by one who tells nobody
    assert await shown(catalogue) == {"1.2.1"}
    monkeypatch.setattr(layouts, "_TRUST_SECONDS", 0)
    assert await shown(catalogue) == {"1.2.1", "1.2.2"}


async def test_without_marks_mongodb_is_asked_each_time(database: Database) -> None:
    catalogue = Catalogue(database)
    await store(database, "1.2.1")
    assert await shown(catalogue) == {"1.2.1"}
    await store(database, "1.2.2")
    assert await shown(catalogue) == {"1.2.1", "1.2.2"}


async def test_a_study_that_is_gone_is_gone(sharing: Database) -> None:
    catalogue = Catalogue(sharing)
    await store(sharing, "1.2.1")
    assert await shown(catalogue) == {"1.2.1"}
    await sharing.studies.delete_many({})
    assert sharing.changes is not None
    sharing.changes.put([STUDY])
    with pytest.raises(NotFound):
        await catalogue.study_frames(STUDY)
