"""The schema: made once, whoever starts first, and never taken for another version's."""

import asyncio

import pytest

from hilum.core.errors import Invalid
from hilum.core.levels import Level
from hilum.core.query import Query
from hilum.index import schema
from hilum.index.catalogue import Catalogue
from hilum.index.database import Database
from hilum.index.instance_writer import Write
from hilum.index.stability import Stability
from hilum.index.writer import Writer
from tests.integration.objects import instance


async def test_nodes_may_start_at_once_and_again(mongodb_uri: str, database: Database) -> None:
    await database.raw.client.drop_database(database.raw.name)
    nodes = [Database.connect(mongodb_uri, database.raw.name) for _ in range(4)]
    await asyncio.gather(*(node.ensure_schema() for node in nodes))
    await nodes[0].ensure_schema()
    meta = await database.raw["meta"].find_one({"_id": "schema"})
    assert meta == {"_id": "schema", "version": schema.VERSION}
    for collection, indexes in schema.INDEXES.items():
        existing = await database.raw[collection].index_information()
        assert {index.document["name"] for index in indexes} | {"_id_"} == set(existing)
    assert "frames" in await database.raw.list_collection_names()
    for node in nodes:
        node.close()


async def test_an_index_of_a_newer_version_is_refused(database: Database) -> None:
    await database.raw["meta"].update_one(
        {"_id": "schema"}, {"$set": {"version": schema.VERSION + 1}}
    )
    with pytest.raises(Invalid, match=f"schema version {schema.VERSION + 1}"):
        await database.ensure_schema()


async def test_a_mongodb_that_is_too_old_is_refused(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "_OLDEST_MONGODB", (99, 0))
    with pytest.raises(Invalid, match="too old"):
        await database.ensure_schema()


async def test_an_older_index_is_migrated_step_by_step(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []

    def step(older: int):  # type: ignore[no-untyped-def]
        async def migrate(_: object) -> None:
            steps.append(older)

        return migrate

    await database.raw["meta"].update_one({"_id": "schema"}, {"$set": {"version": 1}})
    monkeypatch.setattr(schema, "VERSION", 3)
    monkeypatch.setattr(schema, "_MIGRATIONS", {1: step(1), 2: step(2)})
    await database.ensure_schema()
    await database.ensure_schema()
    assert steps == [1, 2]
    meta = await database.raw["meta"].find_one({"_id": "schema"})
    assert meta == {"_id": "schema", "version": 3}


async def test_an_index_of_version_1_learns_the_words_of_its_studies(database: Database) -> None:
    study = instance("1.1.1", study="1.1", series="1.1.0", PatientName="Müller^Jürgen")
    await Writer(database).write([Write(study)])
    await database.studies.update_many({}, {"$unset": {"words": ""}})
    await database.studies.drop_index("words")
    await database.studies.create_index("search.StudyDate", name="study_date")
    await database.raw["meta"].update_one({"_id": "schema"}, {"$set": {"version": 1}})
    query = Query(Level.STUDY, text="mull")
    assert await Catalogue(database).count(query) == 0
    await database.ensure_schema()
    assert await Catalogue(database).count(query) == 1
    # And an index that no query needs any more is gone.
    assert "study_date" not in await database.studies.index_information()


async def test_what_an_index_of_version_2_holds_is_stable_and_no_news(database: Database) -> None:
    await Writer(database).write([Write(instance("1.1.1"))])
    for collection in (database.studies, database.series):
        await collection.update_many({}, {"$unset": {"stable": "", "changed_at": ""}})
    await database.raw["meta"].update_one({"_id": "schema"}, {"$set": {"version": 2}})
    await database.ensure_schema()
    for collection in (database.studies, database.series):
        document = await collection.find_one({})
        assert document is not None
        assert document["stable"] is True
        assert document["stable_at"] == document["changed_at"] == document["updated_at"]
    for level in (Level.STUDY, Level.SERIES):
        assert await Stability(database).at_rest(level, 0) == []


async def test_an_older_view_is_redefined(database: Database) -> None:
    await database.raw.command("collMod", "frames", viewOn="instances", pipeline=[])
    await database.ensure_schema()
    [view] = await (await database.raw.list_collections(filter={"name": "frames"})).to_list(1)
    assert view["options"]["pipeline"] == schema.FRAMES_PIPELINE


@pytest.mark.parametrize("uri", ["mongodb://", "http://localhost", "mongodb://host:port"])
async def test_a_wrong_uri_is_invalid(uri: str) -> None:
    with pytest.raises(Invalid, match="MongoDB URI"):
        Database.connect(uri)
