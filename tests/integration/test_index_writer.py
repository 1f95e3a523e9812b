"""The bulk writer: what batches, replays and rivals leave in the index."""

import asyncio
import random
import sys
from datetime import timedelta

import pytest
from pymongo import MongoClient

from hilum.core.errors import Invalid
from hilum.core.instance import Instance
from hilum.core.levels import Level, json_tag
from hilum.core.query import Condition, Exact, Query
from hilum.index import derive
from hilum.index.catalogue import Catalogue
from hilum.index.database import Database, Document
from hilum.index.instance_writer import InstanceWriter, Write
from hilum.index.stored import Match
from hilum.index.writer import Writer
from tests.integration.objects import blob, instance


async def study_of(catalogue: Catalogue, uid: str = "1.2.1") -> Match:
    query = Query(Level.STUDY, (Condition("StudyInstanceUID", Exact(uid)),))
    [match] = [each async for each in catalogue.find(query)]
    return match


def value(match: Match, keyword: str) -> object:
    values = match.attributes[json_tag(keyword)].get("Value")
    return values if keyword.endswith("InStudy") else values and values[0]


async def test_counts_and_lists_follow_what_is_stored(writer: Writer, catalogue: Catalogue) -> None:
    ct, sr = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.88.11"
    await writer.write(
        [
            *(Write(instance(f"1.{n}", series="1.1", Modality="CT", frames=3)) for n in range(4)),
            Write(instance("2.1", series="1.2", Modality="SR", frames=0, sop_class=sr)),
        ]
    )
    await writer.write([Write(instance("3.1", series="1.3", Modality="CT", frames=1))])
    match = await study_of(catalogue)
    assert value(match, "ModalitiesInStudy") == ["CT", "SR"]
    assert value(match, "SOPClassesInStudy") == [ct, sr]
    assert value(match, "NumberOfStudyRelatedSeries") == 3
    assert value(match, "NumberOfStudyRelatedInstances") == 6
    assert match.frame_count == 13
    statistics = await catalogue.statistics()
    assert (statistics.patients, statistics.studies, statistics.series) == (1, 1, 3)
    assert (statistics.instances, statistics.frames) == (6, 13)
    assert statistics.size_bytes == match.size_bytes == 6 * len("1.1")


async def test_a_replay_changes_nothing_but_when_something_changed(
    writer: Writer, database: Database
) -> None:
    batch = [Write(instance(f"1.{n}", PatientName="A^B", SeriesNumber=1)) for n in range(5)]

    async def everything() -> list[object]:
        return [
            [
                {k: v for k, v in document.items() if k not in {"revision", "changed_at"}}
                async for document in database.raw[name].find().sort("_id", 1)
            ]
            for name in ("studies", "series", "instances")
        ]

    assert (await writer.write(batch)).lost == []
    before = await everything()
    assert (await writer.write(batch)).lost == []
    assert (await writer.write(batch[2:])).lost == []
    assert await everything() == before


async def test_what_was_there_already_leaves_a_stable_study_stable(
    writer: Writer, database: Database
) -> None:
    await writer.write([Write(instance("1.1"))])
    for collection in (database.studies, database.series):
        assert await collection.count_documents({"stable": False}) == 1
        await collection.update_one({}, {"$set": {"stable": True}})
    before = await database.series.find_one({}, {"changed_at": 1})
    await writer.write([Write(instance("1.1"), arrived=False)])
    assert await database.series.find_one({}, {"changed_at": 1}) == before
    # Of a reindexed archive nobody is told that it has become complete.
    await writer.write([Write(instance("1.2"), arrived=False)])
    await writer.write([Write(instance("2.1", series="2", study="2"), arrived=False)])
    for collection in (database.studies, database.series):
        assert await collection.count_documents({"stable": True}) == 2
    await writer.write([Write(instance("1.3"))])
    await writer.write([Write(instance("1.4"), arrived=False), Write(instance("1.5"))])
    for collection in (database.studies, database.series):
        assert await collection.count_documents({"stable": False}) == 1


async def test_what_begins_is_told_and_told_again_to_who_writes_it_again(
    writer: Writer, database: Database
) -> None:
    one = [instance(f"1.{n}", minute=n) for n in range(3)]
    names = one[0].header.identity
    all_three = {names.patient, names.study, names.series}
    assert (await writer.write([Write(each) for each in one[:2]])).begun == all_three
    # As after a crash, in other batches than before.
    assert (await writer.write([Write(one[1])])).begun == set()
    assert (await writer.write([Write(one[0]), Write(one[2])])).begun == all_three
    assert (await writer.write([Write(one[0], arrived=False)])).begun == set()
    later = instance("1.0", minute=9)
    assert (await writer.write([Write(later)])).begun == set()
    other_series = instance("2.1", series="2", minute=10)
    assert (await writer.write([Write(other_series)])).begun == {
        other_series.header.identity.series
    }
    other_study = instance("3.1", series="3", study="3", minute=11)
    identity = other_study.header.identity
    assert (await writer.write([Write(other_study)])).begun == {identity.series, identity.study}


async def test_of_studies_of_a_new_patient_that_begin_at_once_one_is_the_first(
    mongodb_uri: str, database: Database
) -> None:
    rivals = [Database.connect(mongodb_uri, database.raw.name) for _ in range(4)]
    writes = [Write(instance("1", study=f"{n}", series=f"{n}.1", minute=4 - n)) for n in range(4)]
    became = await asyncio.gather(
        *(Writer(rival).write([write]) for rival, write in zip(rivals, writes, strict=True))
    )
    patient = writes[0].instance.header.identity.patient
    assert sum(patient in each.begun for each in became) >= 1
    again = [await Writer(database).write([write]) for write in writes]
    assert [patient in each.begun for each in again] == [False, False, False, True]
    for rival in rivals:
        rival.close()


async def test_a_replay_makes_good_what_a_crash_left_undone(
    writer: Writer, catalogue: Catalogue, database: Database
) -> None:
    batch = [Write(instance(f"1.{n}", Modality="CT")) for n in range(5)]
    await writer.write(batch[:2])
    # As if the writer had died after the instances: they are there, the counts are not.
    await InstanceWriter(database).write(batch)
    assert value(await study_of(catalogue), "NumberOfStudyRelatedInstances") == 2
    assert set(await writer.current([w.instance.header.identity.instance for w in batch])) == {
        w.instance.header.identity.instance for w in batch
    }
    await writer.write(batch)
    assert value(await study_of(catalogue), "NumberOfStudyRelatedInstances") == 5


async def test_a_poorer_object_blanks_nothing(writer: Writer, catalogue: Catalogue) -> None:
    await writer.write(
        [Write(instance("1.1", PatientName="A^B", StudyDescription="Head", StudyDate="20240101"))]
    )
    await writer.write([Write(instance("1.2", PatientName="", StudyDate="20240102"))])
    match = await study_of(catalogue)
    assert value(match, "PatientName") == {"Alphabetic": "A^B"}
    assert value(match, "StudyDescription") == "Head"
    assert value(match, "StudyDate") == "20240102"


async def test_a_superseded_version_is_kept(writer: Writer, database: Database) -> None:
    old, new = (instance("1.1", content=text, minute=n) for n, text in enumerate(("one", "two!")))
    await writer.write([Write(old)])
    replacement = Write(new, supersedes=old.blob)
    for _ in range(2):  # The second time as a replay.
        assert (await writer.write([replacement])).lost == []
        document = await database.instances.find_one({})
        assert document is not None
        assert document["blob"] == {"digest": new.blob.digest, "size": 4}
        assert [(v["digest"], v["size"]) for v in document["versions"]] == [(old.blob.digest, 3)]
        assert document["versions"][0]["received_at"] == old.origin.received_at
    # And back again: each version is named once.
    assert (await writer.write([Write(old, supersedes=new.blob)])).lost == []
    document = await database.instances.find_one({})
    assert document is not None
    assert document["blob"]["digest"] == old.blob.digest
    assert [v["digest"] for v in document["versions"]] == [new.blob.digest]


async def test_a_version_kept_aside_leaves_the_current_one(
    writer: Writer, database: Database
) -> None:
    old, new = (instance("1.1", content=text, PatientName=text) for text in ("one", "two"))
    await writer.write([Write(old)])
    for _ in range(2):
        assert (await writer.write([Write(new, supersedes=old.blob, keep_current=True)])).lost == []
        document = await database.instances.find_one({})
        assert document is not None
        assert document["blob"]["digest"] == old.blob.digest
        assert document["PatientName"] == "one"
        assert [v["digest"] for v in document["versions"]] == [new.blob.digest]
    study = await database.studies.find_one({})
    assert study is not None
    assert study["PatientName"] == "one"


@pytest.mark.parametrize("keep", [False, True])
async def test_a_write_against_a_version_no_longer_current_does_not_apply(
    writer: Writer, database: Database, keep: bool
) -> None:
    one, two, three = (instance("1.1", content=text) for text in ("one", "two", "three"))
    await writer.write([Write(one)])
    await writer.write([Write(two, supersedes=one.blob)])
    late = Write(three, supersedes=one.blob, keep_current=keep)
    bystander = Write(instance("1.2"))
    assert (await writer.write([late, bystander])).lost == [late]
    document = await database.instances.find_one({"SOPInstanceUID": "1.1"})
    assert document is not None
    assert document["blob"]["digest"] == two.blob.digest
    assert three.blob.digest not in {v["digest"] for v in document["versions"]}
    assert await database.instances.count_documents({}) == 2


async def test_of_two_first_versions_one_applies_and_the_other_is_told(writer: Writer) -> None:
    one, two = (Write(instance("1.1", content=text)) for text in ("one", "two"))
    lost = (await writer.write([one, two])).lost
    assert len(lost) == 1
    current = await writer.current([one.instance.header.identity.instance])
    winner = two if lost == [one] else one
    assert [each.current for each in current.values()] == [winner.instance.blob]


async def test_values_that_look_like_expressions_are_values(
    writer: Writer, database: Database
) -> None:
    one, two = (
        instance("1.1", content=text, ImageComments="$blob.digest", source="$source")
        for text in ("one", "two")
    )
    await writer.write([Write(one)])
    await writer.write([Write(two, supersedes=one.blob)])
    await writer.write([Write(one, supersedes=two.blob, keep_current=True)])
    document = await database.instances.find_one({})
    assert document is not None
    assert document["source"] == "$source"
    assert document["search"]["ImageComments"] == ["$blob.digest"]
    assert {v["source"] for v in document["versions"]} == {"$source"}


async def test_an_attribute_mongodb_cannot_keep_costs_the_attribute_alone(
    writer: Writer, catalogue: Catalogue
) -> None:
    broken = instance("1.1", PatientName="A^B")
    broken.header.attributes["00204000"] = {"vr": "LT", "Value": ["x" * 17_000_000]}
    broken.header.attributes["00080080"] = {"vr": "LO", "Value": ["\ud800"]}
    broken.header.attributes["00200013"] = {"vr": "IS", "Value": [2**70]}
    assert (await writer.write([Write(broken), Write(instance("1.2"))])).lost == []
    match = await study_of(catalogue)
    assert value(match, "PatientName") == {"Alphabetic": "A^B"}
    assert value(match, "NumberOfStudyRelatedInstances") == 2


async def test_an_instance_that_cannot_be_kept_at_all_is_invalid(writer: Writer) -> None:
    hopeless = instance("1.1")
    object.__setattr__(hopeless.origin, "source", "\ud800")
    with pytest.raises(Invalid):
        await writer.write([Write(hopeless)])


async def test_rival_writers_lose_no_version(mongodb_uri: str, database: Database) -> None:
    """Many senders of one instance, each with other bytes, each trying until it applied."""
    rivals = [Database.connect(mongodb_uri, database.raw.name) for _ in range(4)]
    identity = instance("1.1").header.identity.instance

    async def send(rival: Database, content: str) -> None:
        mine = instance("1.1", content=content)
        writer = Writer(rival)
        while True:
            known = (await writer.current([identity])).get(identity)
            current = known.current if known else None
            if not (await writer.write([Write(mine, supersedes=current)])).lost:
                return

    contents = [f"version {n}" for n in range(16)]
    await asyncio.gather(*(send(rivals[n % 4], text) for n, text in enumerate(contents)))
    document = await database.instances.find_one({})
    assert document is not None
    versions = [document["blob"]["digest"], *(v["digest"] for v in document["versions"])]
    assert sorted(versions) == sorted(blob(text).digest for text in contents)
    for rival in rivals:
        rival.close()


async def test_rival_writers_of_one_study_agree_on_its_counts(
    mongodb_uri: str, database: Database, catalogue: Catalogue
) -> None:
    """Three series shared out over six writers: all counts right, whoever came last."""
    rivals = [Database.connect(mongodb_uri, database.raw.name) for _ in range(6)]
    modalities = ["CT", "MR", "PT"]

    async def send(number: int, rival: Database) -> None:
        writer = Writer(rival)
        for turn in range(12):
            batch = [
                Write(
                    instance(
                        f"{number}.{turn}.{n}",
                        series=f"9.{n}",
                        Modality=modalities[n],
                        frames=2,
                    )
                )
                for n in range(3)
            ]
            assert (await writer.write(batch)).lost == []

    await asyncio.gather(*(send(number, rival) for number, rival in enumerate(rivals)))
    match = await study_of(catalogue)
    assert value(match, "NumberOfStudyRelatedInstances") == 6 * 12 * 3
    assert value(match, "NumberOfStudyRelatedSeries") == 3
    assert value(match, "ModalitiesInStudy") == modalities
    assert match.frame_count == 2 * 6 * 12 * 3
    for rival in rivals:
        rival.close()


async def test_more_of_a_known_series_costs_one_update_a_level(
    writer: Writer, catalogue: Catalogue, database: Database
) -> None:
    """However many there are: the instances that were counted are not read again."""

    def batch(numbers: range) -> list[Write]:
        return [
            Write(instance(f"1.{n}", SeriesNumber=1, PatientName="A^B", frames=3, minute=n))
            for n in numbers
        ]

    await writer.write(batch(range(20)))
    await database.raw.command("profile", 2)
    await writer.write(batch(range(20, 40)))
    await database.raw.command("profile", 0)
    operations = database.raw["system.profile"].find({"ns": {"$not": {"$regex": r"\.system\."}}})
    kinds = [each["op"] async for each in operations]
    assert set(kinds) == {"insert", "update"}
    assert kinds.count("update") == 2
    match = await study_of(catalogue)
    assert value(match, "NumberOfStudyRelatedInstances") == 40
    assert match.frame_count == 3 * 40
    study = await database.studies.find_one({})
    assert study is not None
    assert study["updated_at"] - study["received_at"] == timedelta(minutes=39)


@pytest.mark.parametrize("seed", range(6))
async def test_counts_are_those_of_the_instances_after_whatever_was_sent(
    mongodb_uri: str, database: Database, seed: int
) -> None:
    """Streams, replays, new versions, corrected names; one writer after and beside another."""
    chance = random.Random(seed)
    rivals = [Database.connect(mongodb_uri, database.raw.name) for _ in range(2)]
    writers = [Writer(each) for each in rivals]
    there: dict[str, Instance] = {}

    def batch() -> list[Write]:
        series = chance.choice(["9.1", "9.2"])
        name = chance.choice([*["A^B"] * 9, "A^C"])
        sop_class = chance.choice([*["1.2.840.10008.5.1.4.1.1.2"] * 9, "1.2.840.10008.5.1.4.1.1.7"])
        writes = []
        for number in chance.sample(range(60), 4):
            uid = f"{series}.{number}"
            known = there.get(uid)
            if known is not None and chance.random() < 0.9:
                if chance.random() < 0.5:
                    writes.append(Write(known))
                continue
            sent = instance(
                uid,
                series=series,
                frames=chance.randrange(4),
                content="x" * chance.randrange(1, 99),
                sop_class=sop_class,
                PatientName=name,
                Modality="CT",
            )
            if known is None or known.blob != sent.blob:
                writes.append(Write(sent, supersedes=known.blob if known else None))
        return writes

    for _ in range(25):
        writer = chance.choice(writers)
        batches = [(writer, batch())]
        if chance.random() < 0.2:  # both at once, of what neither can take from the other
            uids = {write.instance.header.identity.sop_instance_uid for write in batches[0][1]}
            rest = [w for w in batch() if w.instance.header.identity.sop_instance_uid not in uids]
            batches.append((chance.choice(writers), rest))
        results = await asyncio.gather(*(each.write(writes) for each, writes in batches))
        assert [result.lost for result in results] == [[]] * len(batches)
        for _, writes in batches:
            there |= {w.instance.header.identity.sop_instance_uid: w.instance for w in writes}
        for level, field in ((Level.SERIES, "series"), (Level.STUDY, "study")):
            async for entity in database.collection(level).find():
                of_it = [
                    each
                    for each in there.values()
                    if getattr(each.header.identity, field) == entity["_id"]
                ]
                number = f"NumberOf{level.value.title()}RelatedInstances"
                classes = "SOPClassesInStudy" if level is Level.STUDY else "SOPClassesInSeries"
                assert entity[number] == len(of_it)
                assert entity["size"] == sum(each.blob.size_bytes for each in of_it)
                assert entity["frames"] == sum(
                    each.header.pixel_data.frame_count if each.header.pixel_data else 0
                    for each in of_it
                )
                assert entity[classes] == sorted({each.header.sop_class_uid for each in of_it})
        if len(batches) == 1 and batches[0][1]:
            study = await database.studies.find_one({})
            last = batches[0][1][-1].instance.header.attributes["00100010"]["Value"][0]
            assert study is not None
            assert study["PatientName"] == last["Alphabetic"]
    for rival in rivals:
        rival.close()


async def test_writers_in_processes_of_their_own_agree_on_the_counts(
    mongodb_uri: str, database: Database, catalogue: Catalogue
) -> None:
    program = f"""
import asyncio, sys
from hilum.index.database import Database
from hilum.index.instance_writer import InstanceWriter, Write
from hilum.index.writer import Writer
from tests.integration.objects import instance

async def main(number):
    writer = Writer(Database.connect({mongodb_uri!r}, {database.raw.name!r}))
    for turn in range(15):
        batch = [instance(f"{{number}}.{{turn}}.{{n}}", series=f"9.{{n % 2}}", Modality="CT")
                 for n in range(4)]
        assert (await writer.write([Write(each) for each in batch])).lost == []

asyncio.run(main(sys.argv[1]))
"""
    processes = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(number))
        for number in range(3)
    ]
    assert [await process.wait() for process in processes] == [0, 0, 0]
    match = await study_of(catalogue)
    assert value(match, "NumberOfStudyRelatedInstances") == 3 * 15 * 4
    assert value(match, "NumberOfStudyRelatedSeries") == 2


async def test_a_count_overtaken_by_a_rival_is_taken_anew(
    writer: Writer,
    database: Database,
    catalogue: Catalogue,
    mongodb_uri: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A rival's instance arrives between this writer's aggregation and its result."""
    count = derive._series_fields
    with MongoClient(mongodb_uri) as client:
        rival = client[database.raw.name]

        def overtaken(classes: list[Document]) -> Document:
            if rival["instances"].count_documents({}) == 1:
                document = rival["instances"].find_one() or {}
                rival["instances"].insert_one({**document, "_id": "the rival's"})
                rival["series"].update_one({}, {"$inc": {"revision": 1}})
            return count(classes)

        monkeypatch.setattr(derive, "_series_fields", overtaken)
        await writer.write([Write(instance("1.1"))])
    assert value(await study_of(catalogue), "NumberOfStudyRelatedInstances") == 2
