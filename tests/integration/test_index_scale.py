"""What queries cost MongoDB, by its own profiler: the figures that decide at a million."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from typing import Any

import pymongo
import pytest

from hilum.core.levels import Level, json_tag
from hilum.core.matching import matching_of
from hilum.core.qido_query import parse_qido
from hilum.core.query import Condition, Query
from hilum.index import catalogue as catalogue_module
from hilum.index.catalogue import Catalogue
from hilum.index.database import Database
from hilum.index.instance_writer import Write
from hilum.index.stored import Match
from hilum.index.writer import Writer
from scripts import seed

STUDIES = 1200
#: The 100th study, whatever that is.
SOME = seed.study(100)[0].header.attributes


def value(tag: str) -> Any:
    return SOME[tag]["Value"][0]


@pytest.fixture(scope="module")
def seeded(mongodb_uri: str) -> Iterator[str]:
    """Name of a database with studies as `scripts.seed` makes them."""
    name = f"test_{secrets.token_hex(6)}"

    async def prepare() -> None:
        database = Database.connect(mongodb_uri, name)
        await database.ensure_schema()
        await seed.write(database, range(STUDIES))
        database.close()

    asyncio.run(prepare())
    yield name
    with pymongo.MongoClient[dict[str, Any]](mongodb_uri) as client:
        client.drop_database(name)


class Profiled:
    """The seeded catalogue, and what MongoDB did to answer from it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.catalogue = Catalogue(database)

    async def operations(self) -> list[dict[str, Any]]:
        """Return the reads since the last call."""
        await self.database.raw.command("profile", 0)
        found = await self.database.raw["system.profile"].find().to_list(None)
        await self.database.raw["system.profile"].drop()
        await self.database.raw.command("profile", 2)
        return [each for each in found if "docsExamined" in each or "planSummary" in each]


@pytest.fixture
async def profiled(mongodb_uri: str, seeded: str) -> AsyncIterator[Profiled]:
    database = Database.connect(mongodb_uri, seeded)
    profiled = Profiled(database)
    await profiled.operations()
    yield profiled
    await database.raw.command("profile", 0)
    await database.raw["system.profile"].drop()
    database.close()


async def found(catalogue: Catalogue, query: Query) -> list[Match]:
    return [match async for match in catalogue.find(query)]


IN_ORDER = [
    {"PatientID": value("00100020")},
    {"PatientName": "Smith^John", "limit": "20"},
    {"StudyDate": value("00080020")},
    {"StudyDate": "20200101-20201231"},
    {"StudyDate": "-20121231", "limit": "20"},
    {"ModalitiesInStudy": "MR"},
    {"ModalitiesInStudy": "CT\\MR", "limit": "20"},
    {"ModalitiesInStudy": "CT", "StudyDate": "20200101-20201231"},
    {"ModalitiesInStudy": "CT", "StudyDate": "20120101-20261231", "limit": "20"},
    {"limit": "50"},
    {},
]
SORTED = [
    {"StudyInstanceUID": value("0020000D")},
    {"AccessionNumber": value("00080050")},
    {
        "PatientName": value("00100010")["Alphabetic"][:2] + "*",
        "PatientBirthDate": value("00100030"),
    },
    {"PatientName": "smith*"},
    {"PatientName": "Müller^J*"},
    {"PatientName": "Sato^*=佐藤^*"},
    {"StudyDate": "20200101-20201231", "StudyTime": "08-12"},
]


@pytest.mark.parametrize("text", ["smith", "mull", value("00080050"), "nobody"])
async def test_a_search_by_words_reads_what_it_finds(profiled: Profiled, text: str) -> None:
    query = Query(Level.STUDY, text=text)
    matches = await found(profiled.catalogue, query)
    [operation] = await profiled.operations()
    assert operation["docsExamined"] == len(matches)
    assert await profiled.catalogue.count(query) == len(matches)
    [operation] = await profiled.operations()
    assert operation["docsExamined"] == 0


@pytest.mark.parametrize("keys", [*IN_ORDER, *SORTED], ids=str)
async def test_a_study_query_reads_what_it_returns(
    profiled: Profiled, keys: Mapping[str, str]
) -> None:
    query = parse_qido(Level.STUDY, keys.items())
    matches = await found(profiled.catalogue, query)
    assert matches
    operations = await profiled.operations()
    assert operations
    for operation in operations:
        assert "COLLSCAN" not in operation["planSummary"]
        if keys in IN_ORDER:
            assert "hasSortStage" not in operation
    examined = sum(operation["docsExamined"] for operation in operations)
    allowed = 1.0
    if "StudyTime" in keys:
        allowed = 8.0  # the days come from the index, the hours do not
    elif "=" in keys.get("PatientName", ""):
        allowed = 8.0  # by one of the two groups
    assert examined <= allowed * len(matches) + 5


async def test_the_first_match_does_not_wait_for_the_last(profiled: Profiled) -> None:
    query = parse_qido(Level.STUDY, [])
    async with aclosing(profiled.catalogue.find(query)) as matches:
        await anext(matches)
    [operation] = await profiled.operations()
    assert operation["docsExamined"] < STUDIES / 2


async def test_images_of_a_series_cost_three_round_trips(profiled: Profiled) -> None:
    keys = {"StudyInstanceUID": value("0020000D"), "SeriesInstanceUID": value("0020000E")}
    matches = await found(profiled.catalogue, parse_qido(Level.IMAGE, keys.items()))
    operations = await profiled.operations()
    assert [each["ns"].split(".")[1] for each in operations] == ["series", "studies", "instances"]
    assert sum(each["docsExamined"] for each in operations) == 2 + len(matches)
    assert "hasSortStage" not in operations[-1]


async def test_the_total_of_everything_is_not_counted(
    profiled: Profiled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue_module, "_COUNTED", STUDIES - 1)
    assert await profiled.catalogue.count(Query(Level.STUDY)) == STUDIES
    [operation] = await profiled.operations()
    assert operation["planSummary"] == "RECORD_STORE_FAST_COUNT"


@pytest.mark.parametrize(
    "keys",
    [{"ModalitiesInStudy": "CT"}, {"StudyDate": "20200101-20201231"}, {"PatientName": "smith*"}],
    ids=str,
)
async def test_a_filtered_total_is_counted_in_an_index(
    profiled: Profiled, keys: Mapping[str, str]
) -> None:
    query = parse_qido(Level.STUDY, keys.items())
    total = await profiled.catalogue.count(query)
    [operation] = await profiled.operations()
    assert total == len(await found(profiled.catalogue, query)) > 0
    assert "COLLSCAN" not in operation["planSummary"]
    # Of a list of names MongoDB looks into the document; of all else the index says enough.
    assert operation["docsExamined"] <= (total if "PatientName" in keys else 0)


@pytest.mark.parametrize("keyword", ["PatientID", "AccessionNumber", "StudyDescription"])
async def test_text_in_any_case_is_found_in_an_index(profiled: Profiled, keyword: str) -> None:
    attributes = [match.attributes for match in await found(profiled.catalogue, Query(Level.STUDY))]
    tag = json_tag(keyword)
    texts = {each[tag]["Value"][0] for each in attributes if tag in each}
    text = next((each for each in sorted(texts) if each.lower() != each.upper()), min(texts))
    await profiled.operations()
    matching = matching_of(keyword, [text.swapcase()], any_case=True)
    assert matching is not None
    query = Query(Level.STUDY, (Condition(keyword, matching),))
    matches = await found(profiled.catalogue, query)
    operations = await profiled.operations()
    assert {each.attributes[json_tag(keyword)]["Value"][0] for each in matches} == {text}
    assert not any("COLLSCAN" in each["planSummary"] for each in operations)
    # Descriptions share their words with others.
    bound = len(matches) if keyword != "StudyDescription" else len(attributes) // 2
    assert sum(each["docsExamined"] for each in operations) <= bound


async def test_a_layout_reads_the_instances_of_its_study(profiled: Profiled) -> None:
    layout = await profiled.catalogue.study_frames(value("0020000D"))
    operations = await profiled.operations()
    assert not any("COLLSCAN" in each["planSummary"] for each in operations)
    series = len({each.identity.series for each in layout.instances})
    assert sum(each["docsExamined"] for each in operations) == 1 + series + len(layout.instances)


async def test_seeded_documents_are_those_the_node_writes(
    seeded: str, mongodb_uri: str, database: Database
) -> None:
    number = next(n for n in range(STUDIES) if len(seed.study(n)) > 20)
    instances = seed.study(number)
    await Writer(database).write([Write(each) for each in instances])
    other = Database.connect(mongodb_uri, seeded)
    try:
        for level in (Level.STUDY, Level.SERIES, Level.IMAGE):
            written = database.collection(level).find()
            async for document in written:
                twin = await other.collection(level).find_one({"_id": document["_id"]})
                # A revision is a random number; an instance has none.
                assert twin is not None
                assert twin.pop("revision", None) != document.pop("revision", "none")
                # What was seeded has long been at rest; what was written has just come.
                for each in (twin, document):
                    for field in ("stable", "stable_at", "changed_at", "begun_by"):
                        each.pop(field, None)
                assert twin == document
    finally:
        other.close()
