"""Spool and store against two plain dictionaries, through any sequence of events.

The life of an instance is received, stored, indexed (and so removed from the spool), and
between any two of these the node may die. Whatever the order: what is committed is
either in the spool or in the store, whole.
"""

import shutil
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from hilum.core.instance import Origin
from hilum.storage.local import LocalStore
from hilum.storage.spool import Spool, SpoolEntry
from hilum.storage.store import Store
from tests.contract.memory_store import MemoryStore
from tests.contract.spooling import is_committed, received

START = datetime(2026, 11, 22, tzinfo=UTC)
# Few different contents, so that the same one often arrives again.
CONTENTS = st.integers(0, 5).map(lambda number: bytes([number]) * number * 1000)


class StorageMachine(RuleBasedStateMachine):
    """Drives a store and a spool, and keeps in dictionaries what they should hold."""

    entries = Bundle("entries")

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="hilum-test-"))
        self.store: Store = self.make_store()
        self.spool = Spool(self.folder / "spool")
        self.received = 0
        self.pending: dict[str, tuple[bytes, Origin]] = {}
        self.stored: dict[str, bytes] = {}

    def make_store(self) -> Store:
        return LocalStore(self.folder / "objects")

    def teardown(self) -> None:
        self.spool.close()
        shutil.rmtree(self.folder)

    @rule(target=entries, data=CONTENTS, source=st.text(max_size=12))
    def receive(self, data: bytes, source: str) -> SpoolEntry:
        self.received += 1
        origin = Origin(source, START + timedelta(microseconds=self.received))
        with self.spool.create(origin) as writer:
            writer.write(data)
            entry = writer.commit()
        self.pending[entry.path.name] = (data, origin)
        return entry

    @rule(data=CONTENTS)
    def begin_and_give_up(self, data: bytes) -> None:
        with self.spool.create(Origin("CT1", START)) as writer:
            writer.write(data)

    @rule(batch=st.lists(entries, max_size=4))
    def promote(self, batch: Sequence[SpoolEntry]) -> None:
        batch = [entry for entry in batch if entry.path.name in self.pending]
        self.store.put(batch)
        for entry in batch:
            self.stored[entry.blob.digest] = self.pending[entry.path.name][0]

    @rule(entry=consumes(entries))
    def index(self, entry: SpoolEntry) -> None:
        if entry.blob.digest not in self.stored:
            self.promote([entry])
        entry.remove()
        self.pending.pop(entry.path.name, None)

    @rule(entry=entries)
    def delete(self, entry: SpoolEntry) -> None:
        self.store.remove(entry.blob.digest)
        self.stored.pop(entry.blob.digest, None)

    @rule(entry=entries, offset=st.integers(0, 6000), length=st.none() | st.integers(0, 6000))
    def read(self, entry: SpoolEntry, offset: int, length: int | None) -> None:
        digest = entry.blob.digest
        if digest in self.stored:
            data = self.stored[digest]
            end = None if length is None else offset + length
            assert self.store.read(digest, offset, length) == data[offset:end]
            self.store.verify(digest)

    @rule(target=entries)
    def die_and_recover(self) -> object:
        # A part that the dead process left; `close` stands for what the kernel does.
        self.spool.create(Origin("CT1", START))._file.close()
        self.spool.close()
        self.spool = Spool(self.folder / "spool")
        if not isinstance(self.store, MemoryStore):
            self.store = self.make_store()
        found = list(self.spool.recover())
        assert [entry.path.name for entry in found] == sorted(
            self.pending, key=lambda name: self.pending[name][1].received_at
        )
        for entry in found:
            data, origin = self.pending[entry.path.name]
            assert entry.path.read_bytes() == data
            assert entry.blob.digest == sha256(data).hexdigest()
            assert entry.blob.size_bytes == len(data)
            assert entry.origin == origin
        return multiple(*found)

    @invariant()
    def the_store_holds_what_it_should(self) -> None:
        assert list(self.store.digests()) == sorted(self.stored)
        for digest, data in self.stored.items():
            assert self.store.contains(digest)
            assert self.store.size(digest) == len(data)

    @invariant()
    def the_spool_holds_what_it_should(self) -> None:
        committed = {path.name for path in received(self.folder / "spool") if is_committed(path)}
        assert committed == set(self.pending)


class MemoryStorageMachine(StorageMachine):
    """The same over the store in memory, which here survives the node."""

    def make_store(self) -> Store:
        return MemoryStore()


# Each step waits for the disk, and `syncfs` for all that other tests write, too: how long it
# takes says nothing.
PROFILE = settings(
    max_examples=25,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestLocalStorage = StorageMachine.TestCase
TestLocalStorage.settings = PROFILE
TestMemoryStorage = MemoryStorageMachine.TestCase
TestMemoryStorage.settings = PROFILE
