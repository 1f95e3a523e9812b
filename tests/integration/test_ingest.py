"""From the spool to the index, through every decision on the way."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydicom.dataset import FileDataset

from hilum.core.errors import Conflict, IdentityMismatch, IndexUnavailable, Invalid, NotDicom
from hilum.core.instance import Blob, Origin
from hilum.index.catalogue import Catalogue
from hilum.index.database import Database
from hilum.index.instance_writer import Write
from hilum.index.outbox import Outbox
from hilum.index.writer import Writer
from hilum.services import promotion
from hilum.services.crossing import Crossing
from hilum.services.decision import ConflictPolicy, Outcome
from hilum.services.ingest import Expected, Ingest, Receipt
from hilum.services.promotion import Promotion
from hilum.storage.local import LocalStore
from hilum.storage.quarantine import Quarantine
from hilum.storage.spool import Spool
from tests.contract.spooling import received
from tests.generated import ct, uid

ORIGIN = Origin("CT1", datetime(2026, 1, 2, tzinfo=UTC))


class Bench:
    """An ingest over real parts, and the things it works on."""

    def __init__(
        self,
        folder: Path,
        writer: Writer,
        policy: ConflictPolicy = "replace",
        outbox: Outbox | None = None,
    ) -> None:
        self.folder = folder
        self.spool = Spool(folder / "spool")
        self.store = LocalStore(folder / "objects")
        self.quarantine = Quarantine(folder / "quarantine")
        self.promotion = Promotion(self.store, self.quarantine, writer, policy, outbox=outbox)
        crossing = Crossing(asyncio.get_running_loop())
        self.ingest = Ingest(self.spool, self.quarantine, self.promotion, crossing)
        self.task = asyncio.create_task(self.promotion.run())

    async def accept(
        self, content: bytes, expected: Expected | None = None, origin: Origin = ORIGIN
    ) -> Receipt:
        def take() -> Receipt:
            with self.ingest.begin(origin) as writer:
                writer.write(content)
                return self.ingest.accept(writer, expected)

        return await asyncio.to_thread(take)

    async def outcome(self, content: bytes, origin: Origin = ORIGIN) -> Outcome:
        receipt = await self.accept(content, origin=origin)
        return await asyncio.wait_for(asyncio.wrap_future(receipt.outcome), 20)

    def spooled(self) -> list[Path]:
        return received(self.folder / "spool")

    async def close(self) -> None:
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task
        self.spool.close()


@pytest.fixture
async def bench(tmp_path: Path, writer: Writer) -> AsyncIterator[Bench]:
    made = Bench(tmp_path, writer)
    yield made
    await made.close()


def part10(data_set: FileDataset) -> bytes:
    file = io.BytesIO()
    data_set.save_as(file, enforce_file_format=True)
    return file.getvalue()


# A UID written over in the bytes: pydicom would refuse to write it.
PATH_AS_UID = part10(ct()).replace(uid(1, 1, 1)[:16].encode(), b"../../etc/passwd")


async def current(database: Database, data_set: FileDataset) -> Blob:
    document = await database.instances.find_one({"SOPInstanceUID": data_set.SOPInstanceUID})
    assert document is not None
    return Blob(document["blob"]["digest"], document["blob"]["size"])


async def test_an_instance_ends_up_in_the_store_and_the_index(
    bench: Bench, catalogue: Catalogue
) -> None:
    content = part10(ct())
    receipt = await bench.accept(content)
    assert await asyncio.to_thread(bench.ingest.wait_visible, [receipt], 20)
    layout = await catalogue.study_frames(uid(1))
    assert layout.instances[0].blob == receipt.blob
    assert bench.store.read(receipt.blob.digest) == content
    assert bench.spooled() == []


async def test_the_same_file_again_adds_nothing(bench: Bench, database: Database) -> None:
    content = part10(ct())
    assert await bench.outcome(content) is Outcome.STORED
    assert await bench.outcome(content) is Outcome.ALREADY_STORED
    assert await database.instances.count_documents({}) == 1
    assert len(list(bench.store.digests())) == 1
    assert bench.spooled() == []


async def test_the_same_data_set_behind_other_meta_information_is_no_new_version(
    bench: Bench, database: Database
) -> None:
    data_set = ct()
    content = part10(data_set)
    await bench.outcome(content)
    data_set.file_meta.SourceApplicationEntityTitle = "ELSEWHERE"
    assert part10(data_set) != content
    assert await bench.outcome(part10(data_set)) is Outcome.ALREADY_STORED
    assert (await current(database, data_set)).size_bytes == len(content)
    assert len(list(bench.store.digests())) == 1


@pytest.mark.parametrize(
    ("policy", "outcome", "is_current"),
    [("replace", Outcome.REPLACED, "new"), ("keep", Outcome.KEPT_CURRENT, "old")],
)
async def test_other_content_under_the_same_uid_loses_neither_version(
    tmp_path: Path,
    writer: Writer,
    database: Database,
    policy: ConflictPolicy,
    outcome: Outcome,
    is_current: str,
) -> None:
    bench = Bench(tmp_path, writer, policy)
    old, new = ct(WindowCenter=40), ct(WindowCenter=50)
    await bench.outcome(part10(old))
    assert await bench.outcome(part10(new)) is outcome
    contents = {"old": part10(old), "new": part10(new)}
    assert bench.store.read((await current(database, old)).digest) == contents[is_current]
    assert {bench.store.read(d) for d in bench.store.digests()} == set(contents.values())
    assert await database.instances.count_documents({"versions": {"$size": 1}}) == 1
    await bench.close()


async def test_policy_reject_refuses_before_it_acknowledges(
    tmp_path: Path, writer: Writer, database: Database
) -> None:
    bench = Bench(tmp_path, writer, "reject")
    old, new = ct(WindowCenter=40), ct(WindowCenter=50)
    await bench.outcome(part10(old))
    with pytest.raises(Conflict):
        await bench.accept(part10(new))
    assert len(bench.quarantine) == 1
    assert bench.store.read((await current(database, old)).digest) == part10(old)
    assert await bench.outcome(part10(old)) is Outcome.ALREADY_STORED
    await bench.close()


async def test_many_senders_of_one_instance_make_one_document(
    bench: Bench, database: Database
) -> None:
    content = part10(ct())
    outcomes = await asyncio.gather(*(bench.outcome(content) for _ in range(12)))
    assert sorted(o.value for o in outcomes) == ["already-stored"] * 11 + ["stored"]
    study = await database.studies.find_one({})
    assert study is not None
    assert study["NumberOfStudyRelatedInstances"] == 1


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", NotDicom),
        (b"GIF89a" * 100, NotDicom),
        (part10(ct())[:-100], NotDicom),
        (part10(ct(StudyInstanceUID="")), Invalid),
        (PATH_AS_UID, Invalid),
    ],
    ids=["empty", "no DICOM", "truncated", "without study UID", "path as UID"],
)
async def test_what_cannot_be_understood_is_kept_in_quarantine(
    bench: Bench, content: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error):
        await bench.accept(content)
    [kept] = bench.quarantine.entries()
    assert kept.path.read_bytes() == content
    assert bench.spooled() == []
    assert list(bench.store.digests()) == []


@pytest.mark.parametrize("wrong", ["class", "instance"])
async def test_a_data_set_that_is_not_what_its_command_said(bench: Bench, wrong: str) -> None:
    data_set = ct()
    expected = Expected(
        "1.2.840.10008.5.1.4.1.1.4" if wrong == "class" else data_set.SOPClassUID,
        "1.2.3" if wrong == "instance" else data_set.SOPInstanceUID,
    )
    with pytest.raises(IdentityMismatch):
        await bench.accept(part10(data_set), expected)
    assert len(bench.quarantine) == 1


async def test_what_a_crash_left_in_the_spool_is_replayed(
    tmp_path: Path, writer: Writer, database: Database
) -> None:
    spool = Spool(tmp_path / "spool")
    for number in range(5):
        with spool.create(ORIGIN) as file:
            file.write(part10(ct(number)))
            file.commit()
    with spool.create(ORIGIN) as unreadable:
        unreadable.write(b"written by other hands")
        unreadable.commit()
    unfinished = spool.create(ORIGIN)
    unfinished.write(b"never acknowledged")
    spool.close()  # by the kernel, when the process dies

    bench = Bench(tmp_path, writer)
    assert await asyncio.to_thread(bench.ingest.replay) == 6
    assert not unfinished.path.exists()
    unfinished.abort()
    assert await bench.promotion.drained(20)
    assert await database.instances.count_documents({}) == 5
    assert len(bench.quarantine) == 1
    assert bench.spooled() == []
    await bench.close()


class AwayWriter(Writer):
    """A writer whose MongoDB is away until it is told to come back."""

    away = True

    async def write(self, batch: "list[Write]") -> "list[Write]":  # type: ignore[override]
        if self.away:
            raise IndexUnavailable("away")
        return await super().write(batch)


async def test_instances_wait_while_the_index_is_away(tmp_path: Path, database: Database) -> None:
    writer = AwayWriter(database)
    bench = Bench(tmp_path, writer)
    receipts = [await bench.accept(part10(ct(number))) for number in range(3)]
    assert not await asyncio.to_thread(bench.ingest.wait_visible, receipts, 0.3)
    assert len(bench.spooled()) == 3
    assert bench.promotion.backlog == 3
    writer.away = False
    await asyncio.wait_for(asyncio.wrap_future(receipts[-1].outcome), 20)
    assert await asyncio.to_thread(bench.ingest.wait_visible, receipts, 20)
    assert await database.instances.count_documents({}) == 3
    assert bench.spooled() == []
    await bench.close()


class CountingWriter(Writer):
    """A writer that remembers how large its batches were."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.sizes: list[int] = []

    async def write(self, batch: "list[Write]") -> "list[Write]":  # type: ignore[override]
        self.sizes.append(len(batch))
        return await super().write(batch)


async def test_a_stream_is_gathered_until_somebody_waits_for_it(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promotion, "_GATHER_SECONDS", 3600.0)
    writer = CountingWriter(database)
    bench = Bench(tmp_path, writer)
    assert await bench.outcome(part10(ct(0))) is Outcome.STORED  # the first waits for nothing
    receipts = [await bench.accept(part10(ct(number))) for number in range(1, 6)]
    assert not any(receipt.outcome.done() for receipt in receipts)
    assert await asyncio.to_thread(bench.ingest.wait_visible, receipts[:1], 20)
    assert await asyncio.to_thread(bench.ingest.wait_visible, receipts, 20)
    assert writer.sizes == [1, 5]
    await bench.accept(part10(ct(7)))
    assert await bench.promotion.drained(20)
    assert writer.sizes == [1, 5, 1]
    await bench.close()


async def test_a_full_batch_is_not_waited_with(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(promotion, "_GATHER_SECONDS", 3600.0)
    monkeypatch.setattr(promotion, "_BATCH_SIZE", 3)
    writer = CountingWriter(database)
    bench = Bench(tmp_path, writer)
    await bench.outcome(part10(ct(0)))
    receipts = [await bench.accept(part10(ct(number))) for number in range(1, 5)]
    await asyncio.wait_for(asyncio.wrap_future(receipts[2].outcome), 20)
    assert writer.sizes == [1, 3]
    assert bench.promotion.backlog == 1
    await bench.close()


class PoisonedWriter(Writer):
    """A writer that fails on one instance in a way nobody foresaw."""

    async def write(self, batch: "list[Write]") -> "list[Write]":  # type: ignore[override]
        if any(w.instance.header.identity.sop_instance_uid == uid(1, 1, 2) for w in batch):
            raise ZeroDivisionError
        return await super().write(batch)


async def test_an_instance_nobody_foresaw_does_not_stop_the_others(
    tmp_path: Path, database: Database
) -> None:
    bench = Bench(tmp_path, PoisonedWriter(database))
    receipts = await asyncio.gather(*(bench.accept(part10(ct(n))) for n in range(4)))
    assert await bench.promotion.drained(20)
    failed = [r for r in receipts if r.outcome.exception()]
    assert [r.header.identity.sop_instance_uid for r in failed] == [uid(1, 1, 2)]
    assert await database.instances.count_documents({}) == 3
    [kept] = bench.quarantine.entries()
    assert kept.path.read_bytes() == part10(ct(2))
    await bench.close()


async def test_a_file_deleted_from_the_spool_by_hand_does_not_hold_up_the_others(
    tmp_path: Path, database: Database
) -> None:
    writer = AwayWriter(database)
    bench = Bench(tmp_path, writer)
    receipts = [await bench.accept(part10(ct(number))) for number in range(3)]
    next(p for p in bench.spooled() if p.read_bytes() == part10(ct(1))).unlink()
    writer.away = False
    await asyncio.wait_for(asyncio.wrap_future(receipts[-1].outcome), 20)
    assert [type(r.outcome.exception()).__name__ for r in receipts] == [
        "NoneType",
        "NotFound",
        "NoneType",
    ]
    assert await database.instances.count_documents({}) == 2
    await bench.close()
