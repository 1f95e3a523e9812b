"""What is told of arrivals: each once, nothing of what was there, and nothing lost to a fault."""

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hilum.core.errors import Conflict, IndexUnavailable
from hilum.core.events import Draft, Event, Kind
from hilum.core.instance import Origin
from hilum.core.levels import Level
from hilum.index.database import Database
from hilum.index.numbering import Numbering
from hilum.index.outbox import Outbox
from hilum.index.writer import Writer
from hilum.services import promotion
from hilum.services.decision import ConflictPolicy, Outcome
from tests.generated import ct, uid
from tests.integration.test_ingest import Bench, part10

CT1 = Origin("CT1", datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC), "10.0.0.7", "HILUM")
LATER = Origin("CT2", CT1.received_at + timedelta(hours=1))


class Failing(Outbox):
    """An outbox that MongoDB keeps from taking events, before or after they are there."""

    fail: Callable[[], str] = staticmethod(lambda: "")

    async def add(self, drafts: Sequence[Draft]) -> None:
        when = self.fail()
        if when == "before":
            raise IndexUnavailable("MongoDB does not answer")
        await super().add(drafts)
        if when == "after":
            raise IndexUnavailable("MongoDB does not answer")


@pytest.fixture
def outbox(database: Database) -> Failing:
    return Failing(database)


@pytest.fixture
async def bench(tmp_path: Path, writer: Writer, outbox: Outbox) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, writer, outbox=outbox)
    yield made
    await made.close()


async def events(database: Database) -> list[Event]:
    numbering = Numbering(database)
    await numbering.begin()
    await numbering.round()
    return await Outbox(database).since(0, 1000)


def kinds(found: list[Event]) -> list[str]:
    return [event.kind.value for event in found]


async def test_a_first_instance_is_told_of_with_all_it_began(
    bench: Bench, database: Database
) -> None:
    content = part10(ct(AccessionNumber="A-1"))
    await bench.outcome(content, CT1)
    instance, series, study, patient = await events(database)
    assert kinds([instance, series, study, patient]) == [
        "new-instance",
        "new-series",
        "new-study",
        "new-patient",
    ]
    document = await database.instances.find_one({})
    assert document is not None
    assert [each.resource for each in (instance, series, study, patient)] == [
        document[field] for field in ("_id", "series", "study", "patient")
    ]
    assert [each.level for each in (instance, series, study, patient)] == [*Level][::-1]
    assert {each.study_instance_uid for each in (instance, series, study, patient)} == {uid(1)}
    assert (instance.series_instance_uid, series.series_instance_uid) == (uid(1, 1), uid(1, 1))
    assert (instance.sop_instance_uid, series.sop_instance_uid) == (uid(1, 1, 1), None)
    assert instance.details["digest"] == hashlib.sha256(content).hexdigest()
    assert instance.details["size_bytes"] == len(content)
    assert instance.details["origin"] == {
        "source": "CT1",
        "remote_address": "10.0.0.7",
        "called_ae_title": "HILUM",
    }
    assert instance.details["sop_class_uid"] == "1.2.840.10008.5.1.4.1.1.2"
    assert instance.details["tags"]["AccessionNumber"] == "A-1"
    assert document["remote_address"] == "10.0.0.7"
    assert document["called_ae_title"] == "HILUM"


async def test_the_same_file_again_is_not_told_of_and_came_when_it_came(
    bench: Bench, database: Database
) -> None:
    content = part10(ct())
    await bench.outcome(content, CT1)
    told = await events(database)
    assert await bench.outcome(content, LATER) is Outcome.ALREADY_STORED
    assert await events(database) == told
    for collection in (database.instances, database.series, database.studies):
        document = await collection.find_one({})
        assert document is not None
        assert document["received_at"] == CT1.received_at.replace(microsecond=678000)
        assert document["source"] == "CT1"
        assert document.get("updated_at", document["received_at"]) == document["received_at"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_fault_on_the_way_neither_loses_nor_doubles_an_event(
    bench: Bench,
    database: Database,
    outbox: Failing,
    when: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(promotion, "_RETRY_FIRST_SECONDS", 0.01)
    faults = ["", when, when]
    outbox.fail = lambda: faults.pop() if faults else ""
    await bench.outcome(part10(ct(1)), CT1)
    await bench.outcome(part10(ct(2)), LATER)
    assert kinds(await events(database)) == [
        "new-instance",
        "new-series",
        "new-study",
        "new-patient",
        "new-instance",
    ]


@pytest.mark.parametrize("policy", ["replace", "keep"])
async def test_a_conflict_is_told_of_with_both_versions(
    tmp_path: Path, writer: Writer, outbox: Failing, database: Database, policy: ConflictPolicy
) -> None:
    bench = Bench(tmp_path, writer, policy, outbox)
    old, new = part10(ct(WindowCenter=40)), part10(ct(WindowCenter=50))
    await bench.outcome(old, CT1)
    faults = ["", "after"]
    outbox.fail = lambda: faults.pop() if faults else ""
    await bench.outcome(new, LATER)
    if policy == "keep":  # a file that is known and not current, once more
        await bench.outcome(new, Origin("CT3", LATER.received_at + timedelta(hours=1)))
    told = (await events(database))[4:]
    assert kinds(told) == (["new-instance", "conflict"] if policy == "replace" else ["conflict"])
    details = told[-1].details
    assert details["current"] == hashlib.sha256(old).hexdigest()
    assert details["received"] == hashlib.sha256(new).hexdigest()
    assert details["outcome"] == ("replaced" if policy == "replace" else "kept-current")
    assert details["origin"]["source"] == "CT2"
    await bench.close()


async def test_a_refused_version_is_told_of(
    tmp_path: Path, writer: Writer, outbox: Failing, database: Database
) -> None:
    bench = Bench(tmp_path, writer, "reject", outbox)
    await bench.outcome(part10(ct(WindowCenter=40)), CT1)
    with pytest.raises(Conflict):
        await bench.accept(part10(ct(WindowCenter=50)), origin=LATER)
    told = await events(database)
    assert told[-1].kind is Kind.CONFLICT
    assert told[-1].details["outcome"] == "rejected"
    await bench.close()


@pytest.mark.filterwarnings("ignore:The value length")
async def test_values_that_cannot_be_told_are_clipped(bench: Bench, database: Database) -> None:
    data_set = ct()
    data_set.StudyDescription = "x" * 5000
    await bench.outcome(part10(data_set), CT1)
    told = await events(database)
    assert told[0].details["tags"]["StudyDescription"] == "x" * 256
