"""Stability: told once things are quiet, told again after something new, and never lost."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hilum.core.errors import IndexUnavailable
from hilum.core.events import Event, Kind
from hilum.core.instance import Instance
from hilum.core.levels import Level
from hilum.index.database import Database
from hilum.index.instance_writer import Write
from hilum.index.numbering import Numbering
from hilum.index.outbox import Outbox
from hilum.index.stability import Stability
from hilum.index.writer import Writer
from hilum.services.stability import Announcing
from tests.integration.objects import instance

MINUTE = timedelta(minutes=1)


@pytest.fixture
def announcing(database: Database) -> Announcing:
    return Announcing(Stability(database), Outbox(database), 60)


async def store(database: Database, *instances: Instance) -> None:
    await Writer(database).write([Write(each) for each in instances])


async def pass_by(database: Database, time: timedelta) -> None:
    """Have everything that was written so far written so much earlier."""
    earlier = [{"$set": {"changed_at": {"$subtract": ["$changed_at", time // MINUTE * 60_000]}}}]
    for collection in (database.studies, database.series):
        await collection.update_many({}, earlier)


async def told(database: Database) -> list[Event]:
    numbering = Numbering(database)
    await numbering.begin()
    await numbering.round()
    return await Outbox(database).since(0, 1000)


async def stable(database: Database) -> list[bool]:
    return [
        document["stable"]
        for collection in (database.studies, database.series)
        async for document in collection.find({}).sort("_id", 1)
    ]


async def test_what_is_quiet_is_told_once_from_the_series_up(
    database: Database, announcing: Announcing
) -> None:
    first = instance("1.1", Modality="CT", StudyDescription="Head")
    await store(database, first, instance("1.2"), instance("2.1", series="2"))
    await announcing.look()
    assert await told(database) == []
    assert await stable(database) == [False, False, False]
    await pass_by(database, MINUTE)
    before = datetime.now(UTC)
    await announcing.look()
    await announcing.look()
    events = await told(database)
    assert [event.kind for event in events] == [
        Kind.STABLE_SERIES,
        Kind.STABLE_SERIES,
        Kind.STABLE_STUDY,
        Kind.STABLE_PATIENT,
    ]
    identity = first.header.identity
    series = next(event for event in events if event.resource == identity.series)
    study, patient = events[2:]
    assert (study.resource, patient.resource) == (identity.study, identity.patient)
    assert study.study_instance_uid == series.study_instance_uid == identity.study_instance_uid
    assert series.series_instance_uid == identity.series_instance_uid
    assert series.details["instances"] == 2
    assert (study.details["series"], study.details["instances"]) == (2, 3)
    assert 60 <= study.details["quiet_seconds"] < 70
    assert "complete" not in study.details, "nobody said how many there would be"
    document = await database.studies.find_one({})
    assert document is not None
    assert document["stable"] is True
    assert document["stable_at"] >= before - timedelta(seconds=1)
    assert await stable(database) == [True, True, True]


async def test_what_comes_later_makes_it_unstable_and_stable_anew(
    database: Database, announcing: Announcing
) -> None:
    writer = Writer(database)  # one and the same: it adds to counts that it remembers
    await writer.write([Write(instance("1.1")), Write(instance("2.1", series="2"))])
    await pass_by(database, MINUTE)
    await announcing.look()
    await writer.write([Write(instance("1.2"))])
    assert sorted(await stable(database)) == [False, False, True]
    await announcing.look()
    assert len(await told(database)) == 4
    await pass_by(database, MINUTE)
    await announcing.look()
    later = (await told(database))[4:]
    assert [(event.kind, event.details.get("instances")) for event in later] == [
        (Kind.STABLE_SERIES, 2),
        (Kind.STABLE_STUDY, 3),
        (Kind.STABLE_PATIENT, None),
    ]


async def test_what_changes_while_it_is_told_stays_unstable(
    database: Database, announcing: Announcing
) -> None:
    stability = Stability(database)
    await store(database, instance("1.1"))
    await pass_by(database, MINUTE)
    found = await stability.at_rest(Level.SERIES, 60)
    await store(database, instance("1.2"))
    await stability.settle(Level.SERIES, found, datetime.now(UTC))
    assert await stable(database) == [False, False]


async def test_a_patient_is_stable_with_the_last_of_all_studies(
    database: Database, announcing: Announcing
) -> None:
    await store(database, instance("1", study="1", series="1.1"))
    await pass_by(database, MINUTE)
    await store(database, instance("2", study="2", series="2.1"))
    await announcing.look()
    assert [event.kind for event in await told(database)] == [
        Kind.STABLE_SERIES,
        Kind.STABLE_STUDY,
    ]
    await pass_by(database, MINUTE)
    await announcing.look()
    [patient] = [event for event in await told(database) if event.kind is Kind.STABLE_PATIENT]
    assert patient.study_instance_uid == "2"


async def test_ids_are_those_of_the_documents(database: Database, announcing: Announcing) -> None:
    """Of some patients they are made of something else than what their Patient ID says."""
    odd = instance("1.1")
    identity = replace(odd.header.identity, hashed_patient_id=" P1")
    await store(database, replace(odd, header=replace(odd.header, identity=identity)))
    await pass_by(database, MINUTE)
    await announcing.look()
    await announcing.look()
    told_of = [event.resource for event in await told(database)]
    assert told_of == [identity.series, identity.study, identity.patient]
    assert await stable(database) == [True, True]


async def test_a_crash_before_it_is_noted_tells_nothing_twice(
    database: Database, announcing: Announcing, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store(database, instance("1.1"))
    await pass_by(database, MINUTE)

    async def away(*_: object) -> None:
        raise IndexUnavailable("MongoDB does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(Stability, "settle", away)
        with pytest.raises(IndexUnavailable):
            await announcing.look()
    assert await stable(database) == [False, False]
    # The next leader, and this one.
    await Announcing(Stability(database), Outbox(database), 60).look()
    await announcing.look()
    assert [event.kind for event in await told(database)] == [
        Kind.STABLE_SERIES,
        Kind.STABLE_STUDY,
        Kind.STABLE_PATIENT,
    ]


@pytest.mark.parametrize(("images", "complete"), [(2, True), (3, False)])
async def test_what_series_say_of_themselves_is_held_against_what_came(
    database: Database, announcing: Announcing, images: int, complete: bool
) -> None:
    await store(database, instance("1.1"), instance("1.2"))
    await database.series.update_one({}, {"$set": {"main.ImagesInAcquisition": str(images)}})
    await pass_by(database, MINUTE)
    await announcing.look()
    for event in (await told(database))[:2]:
        assert event.details["expected_instances"] == images
        assert event.details["complete"] is complete


async def test_looking_costs_no_scan(database: Database) -> None:
    await store(database, *(instance(f"{n}", study=f"{n}", series=f"{n}.1") for n in range(50)))
    await database.studies.update_many({}, {"$set": {"stable": True}})
    query = {"stable": False, "changed_at": {"$lte": datetime.now(UTC)}}
    plan = await database.studies.find(query).sort("changed_at", 1).explain()
    assert plan["executionStats"]["totalKeysExamined"] <= 1
    assert plan["executionStats"]["totalDocsExamined"] == 0
