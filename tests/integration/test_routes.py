"""Routes: which instances a rule picks, and what becomes of those that do not get through."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from hilum.core.errors import Corrupt, HilumError, Invalid, NotFound, Temporary
from hilum.core.events import Draft, Event, Kind
from hilum.core.instance import Instance
from hilum.core.levels import Level
from hilum.core.routing import Moment, Rule
from hilum.index.consignments import TRAITS, Consignments
from hilum.index.database import Database
from hilum.index.instance_writer import Write
from hilum.index.outbox import Outbox
from hilum.index.queue_desk import QueueDesk
from hilum.index.stored import StoredInstance
from hilum.index.writer import Writer
from hilum.services.routing import Route
from hilum.services.subscriptions import Subscription
from tests.integration.objects import instance
from tests.integration.test_delivery import delivering, number, settled, until

ATTRIBUTES = {
    "Modality": "CT",
    "BodyPartExamined": "HEAD",
    "SeriesDescription": "axial 1 mm",
    "ProtocolName": "Schädel",
    "StationName": "CT-1",
    "Manufacturer": "Maker",
    "StudyDescription": "Trauma",
}
#: By trait, what `instance(**ATTRIBUTES)` from a modality that calls the node by its name has.
EXPECTED = {
    "modality": "CT",
    "body_part_examined": "HEAD",
    "series_description": "axial 1 mm",
    "protocol_name": "Schädel",
    "station_name": "CT-1",
    "manufacturer": "Maker",
    "study_description": "Trauma",
    "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
    "source": "dicom",
    "calling_ae_title": "CT1",
    "called_ae_title": "HILUM",
}


async def nothing() -> None:
    """Happens."""


@dataclass
class Faulty:
    """A destination that refuses what it is told to."""

    faults: dict[str, HilumError] = field(default_factory=dict)
    """By SOP Instance UID."""
    sent: list[list[str]] = field(default_factory=list)
    ae_title: str = "WORKSTATION"
    description: str = "a test"
    meanwhile: Callable[[], Awaitable[None]] = nothing
    """Done while it is sent to."""

    async def sender(self) -> str:
        return self.ae_title

    async def send(self, instances: Sequence[StoredInstance]) -> list[HilumError | None]:
        uids = [each.identity.sop_instance_uid for each in instances]
        self.sent.append(uids)
        await self.meanwhile()
        return [self.faults.get(uid) for uid in uids]


@pytest.fixture
def consignments(database: Database) -> Consignments:
    return Consignments(database, "HILUM")


Subscribe = Callable[..., Subscription]


@pytest.fixture
def subscribed(consignments: Consignments) -> Subscribe:
    def subscribed(
        destination: Faulty, moment: Moment = Moment.ARRIVAL, **conditions: tuple[str, ...]
    ) -> Subscription:
        rule = Rule("rule", moment, ("WORKSTATION",), conditions)
        return Route("route.rule.WORKSTATION", rule, destination, consignments).subscription()

    return subscribed


def event(of: Instance, kind: Kind = Kind.NEW_INSTANCE, sequence: int = 1) -> Event:
    identity = of.header.identity
    level, resource = {
        Kind.NEW_INSTANCE: (Level.IMAGE, identity.instance),
        Kind.STABLE_SERIES: (Level.SERIES, identity.series),
        Kind.STABLE_STUDY: (Level.STUDY, identity.study),
    }[kind]
    return Event(
        sequence=sequence,
        kind=kind,
        level=level,
        resource=resource,
        study=identity.study,
        study_instance_uid=identity.study_instance_uid,
        series_instance_uid=identity.series_instance_uid,
        sop_instance_uid=identity.sop_instance_uid,
        at=datetime.now(UTC),
        details={},
    )


async def selected(subscription: Subscription, *events: Event) -> list[int]:
    assert subscription.select is not None
    return [each.sequence for each in await subscription.select(events)]


async def delivered(subscription: Subscription, *events: Event) -> list[Any]:
    assert subscription.deliver_some is not None
    return list(await subscription.deliver_some(events))


async def test_traits_are_what_the_index_says(writer: Writer, consignments: Consignments) -> None:
    one = instance("1.1", source="CT1", **ATTRIBUTES)
    await writer.write([Write(one)])
    ((_, traits),) = (await consignments.traits([one.header.identity.instance, "gone"])).items()
    assert set(traits) == set(TRAITS)
    syntax = one.header.transfer_syntax_uid
    assert traits == {**EXPECTED, "transfer_syntax_uid": syntax}
    ((stored, again),) = await consignments.below(Level.STUDY, one.header.identity.study)
    assert (stored.blob, again) == (one.blob, traits)


@pytest.mark.parametrize(
    ("source", "called", "expected"),
    [
        ("CT1", "", ("dicom", "CT1", "HILUM")),
        ("CT1", "ROOM_1", ("dicom", "CT1", "ROOM_1")),
        ("http", "", ("http", "", "")),
        ("import", "", ("import", "", "")),
    ],
)
async def test_a_sender_is_somebody_who_called(
    writer: Writer,
    consignments: Consignments,
    source: str,
    called: str,
    expected: tuple[str, str, str],
) -> None:
    one = instance("1.1", source=source)
    one = replace(one, origin=replace(one.origin, called_ae_title=called))
    await writer.write([Write(one)])
    (traits,) = (await consignments.traits([one.header.identity.instance])).values()
    names = ("source", "calling_ae_title", "called_ae_title")
    assert tuple(traits[name] for name in names) == expected


async def test_a_rule_picks_what_it_is_about_and_is_not_from_there(
    writer: Writer, subscribed: Subscribe
) -> None:
    instances = [
        instance("1.1", series="1.1", Modality="CT"),
        instance("1.2", series="1.2", Modality="MR"),
        instance("1.3", series="1.1", Modality="CT", source="WORKSTATION"),
        instance("1.4", series="1.1", Modality="CT", source="http"),
    ]
    await writer.write([Write(each) for each in instances])
    events = [event(each, sequence=number) for number, each in enumerate(instances)]
    gone = event(instance("1.5"), sequence=9)
    ct = subscribed(Faulty(), modality=("CT",))
    assert await selected(ct, *events, gone) == [0, 3]
    assert await selected(subscribed(Faulty()), *events, gone) == [0, 1, 3]
    assert ct.wants(events[0])
    assert not ct.wants(event(instances[0], Kind.STABLE_STUDY))


async def test_what_was_deleted_meanwhile_is_done_and_one_of_two_events_is_enough(
    writer: Writer, subscribed: Subscribe
) -> None:
    there = [instance(f"1.{number}") for number in range(3)]
    await writer.write([Write(each) for each in there])
    destination = Faulty({"1.1": Invalid("no")})
    events = [event(each) for each in (there[2], instance("1.9"), there[1], there[0], there[2])]
    results = await delivered(subscribed(destination), *events)
    assert [type(each) for each in results] == [
        Invalid if position == 2 else type(None) for position in range(5)
    ]
    assert destination.sent == [["1.2", "1.1", "1.0"]], "in order, each once"


async def test_a_file_that_is_gone_is_damage_unless_its_instance_is_gone_or_another(
    writer: Writer, database: Database, subscribed: Subscribe
) -> None:
    one = instance("1.1")
    await writer.write([Write(one)])

    async def replaced() -> None:
        other = instance("1.1", content="other")
        await writer.write([Write(other, supersedes=one.blob)])

    async def deleted() -> None:
        await database.instances.delete_many({})

    for meanwhile, expected in ((nothing, Corrupt), (replaced, type(None)), (deleted, type(None))):
        destination = Faulty({"1.1": NotFound("no such file")}, meanwhile=meanwhile)
        (result,) = await delivered(subscribed(destination), event(one))
        assert type(result) is expected


async def test_another_try_of_a_stable_study_sends_what_is_left(
    writer: Writer, subscribed: Subscribe
) -> None:
    instances = [
        instance(f"1.{number}", InstanceNumber=number, series="1.1", Modality="CT")
        for number in range(4)
    ]
    other = instance("2.1", series="1.2", Modality="SR")
    await writer.write([Write(each) for each in (*instances, other)])
    destination = Faulty({"1.1": Temporary("busy"), "1.2": Invalid("never")})
    subscription = subscribed(destination, Moment.STABLE_STUDY, modality=("CT",))
    stable = event(instances[0], Kind.STABLE_STUDY)
    with pytest.raises(Temporary, match="busy"):
        await subscription.deliver(stable)
    del destination.faults["1.1"]
    with pytest.raises(Invalid, match=r"1 of 2 instances: 1\.2: never"):
        await subscription.deliver(stable)
    assert destination.sent == [["1.0", "1.1", "1.2", "1.3"], ["1.1", "1.2"]]
    destination.faults.clear()
    await subscription.deliver(event(instances[0], Kind.STABLE_STUDY, sequence=2))
    assert destination.sent[2:] == [["1.0", "1.1", "1.2", "1.3"]], "stable again is all again"


async def test_a_stable_series_is_that_series(writer: Writer, subscribed: Subscribe) -> None:
    one, other = instance("1.1", series="1.1"), instance("2.1", series="1.2")
    await writer.write([Write(one), Write(other)])
    destination = Faulty()
    subscription = subscribed(destination, Moment.STABLE_SERIES)
    await subscription.deliver(event(one, Kind.STABLE_SERIES))
    assert destination.sent == [["1.1"]]


async def test_of_several_at_once_those_that_fail_are_tried_again(
    database: Database, writer: Writer, subscribed: Subscribe
) -> None:
    """By the delivery engine: one that is refused for good, and two that pass in time."""
    instances = [instance(f"1.{number}") for number in range(6)]
    await writer.write([Write(each) for each in instances])
    destination = Faulty(
        {"1.1": Temporary("busy"), "1.3": Invalid("never"), "1.4": Temporary("busy")}
    )
    drafts = [
        Draft(
            kind=each.kind,
            level=each.level,
            resource=each.resource,
            study=each.study,
            study_instance_uid=each.study_instance_uid,
            at=each.at,
            occasion=str(position),
        )
        for position, each in enumerate(map(event, instances))
    ]
    async with delivering(database, subscribed(destination)):
        await Outbox(database).add(drafts)
        await number(database)
        await until(lambda: len(destination.sent) > 1)
        destination.faults = {"1.3": Invalid("never")}
        await until(lambda: settled(database))
    assert destination.sent[0] == [f"1.{each}" for each in range(6)]
    assert destination.sent[-1] in (["1.1", "1.4"], ["1.4"])
    (summary,) = await QueueDesk(database).summaries()
    assert {state.value: count for state, count in summary.counts.items()} == {
        "waiting": 0,
        "dead": 1,
        "done": 5,
    }
