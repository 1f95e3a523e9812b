"""What every store has to do, held against each implementation."""

import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hilum.core.errors import Corrupt, Invalid, NotFound, StorageUnavailable
from hilum.storage.local import LocalStore
from hilum.storage.spool import Spool
from hilum.storage.store import Store
from tests.contract.memory_store import MemoryStore
from tests.contract.spooling import ORIGIN, sha256sum, spooled, without_attributes

# sha256sum /dev/null
EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
ABSENT = "0" * 64
NO_DIGESTS = ["", "abc", "../" * 20 + "etc/passwd", ABSENT.replace("0", "A"), ABSENT + "\n"]


@pytest.fixture(params=[LocalStore, MemoryStore])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param is LocalStore:
        return LocalStore(tmp_path / "objects")
    return MemoryStore()


@pytest.fixture(params=["marks", "names"])
def spool(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Spool]:
    if request.param == "names":
        without_attributes(monkeypatch)
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.close()


def damage(store: Store, digest: str) -> None:
    """Flip a bit of a stored file behind the store's back."""
    data = bytearray(store.read(digest))
    data[len(data) // 2] ^= 1
    if isinstance(store, MemoryStore):
        store._files[digest] = bytes(data)
    else:
        path = store.path(digest)
        path.chmod(0o644)
        path.write_bytes(data)


def test_a_stored_file_is_the_one_received_under_its_sha256(store: Store, spool: Spool) -> None:
    data = bytes(range(256)) * 300
    entry = spooled(spool, data)
    store.put([entry])
    assert entry.blob.digest == sha256sum(entry.path)
    assert store.read(entry.blob.digest) == data
    assert store.size(entry.blob.digest) == len(data)
    assert store.contains(entry.blob.digest)
    assert list(store.digests()) == [entry.blob.digest]
    store.verify(entry.blob.digest)


def test_put_leaves_the_spool_alone_and_does_not_need_it_afterwards(
    store: Store, spool: Spool
) -> None:
    entry = spooled(spool, b"pixels")
    store.put([entry])
    assert entry.path.read_bytes() == b"pixels"
    entry.remove()
    assert store.read(entry.blob.digest) == b"pixels"


def test_put_is_idempotent(store: Store, spool: Spool) -> None:
    first, again = spooled(spool, b"same"), spooled(spool, b"same")
    assert first.path != again.path
    store.put([first, again, first])
    store.put([again])
    again.remove()
    store.put([again])  # replayed after its file was already taken out of the spool
    assert list(store.digests()) == [first.blob.digest]
    assert store.read(first.blob.digest) == b"same"


def test_put_of_nothing_is_nothing(store: Store) -> None:
    store.put([])
    assert list(store.digests()) == []


def test_put_of_a_file_that_left_the_spool_says_so(store: Store, spool: Spool) -> None:
    entry = spooled(spool, b"gone")
    entry.remove()
    with pytest.raises(StorageUnavailable):
        store.put([entry])
    assert not store.contains(entry.blob.digest)


def test_an_empty_file_is_a_file(store: Store, spool: Spool) -> None:
    entry = spooled(spool, b"")
    store.put([entry])
    assert list(store.digests()) == [EMPTY]
    assert store.size(EMPTY) == 0
    assert store.read(EMPTY) == b""
    store.verify(EMPTY)


@pytest.mark.parametrize("offset", [0, 1, 4095, 9999, 10_000, 20_000])
@pytest.mark.parametrize("length", [None, 0, 1, 4096, 10_000, 1 << 50])
def test_a_range_is_the_slice(store: Store, spool: Spool, offset: int, length: int | None) -> None:
    data = bytes(i * 7 % 251 for i in range(10_000))
    entry = spooled(spool, data)
    store.put([entry])
    end = None if length is None else offset + length
    assert store.read(entry.blob.digest, offset, length) == data[offset:end]


def test_open_files_are_seekable_and_independent(store: Store, spool: Spool) -> None:
    entry = spooled(spool, b"0123456789")
    store.put([entry])
    with store.open(entry.blob.digest) as one, store.open(entry.blob.digest) as other:
        one.seek(5)
        assert other.read(3) == b"012"
        assert one.read() == b"56789"


def test_an_open_file_outlives_its_removal(store: Store, spool: Spool) -> None:
    entry = spooled(spool, b"still here")
    store.put([entry])
    entry.remove()
    with store.open(entry.blob.digest) as file:
        store.remove(entry.blob.digest)
        assert file.read() == b"still here"


def test_the_path_is_readable_for_another_process(store: Store, spool: Spool) -> None:
    entry = spooled(spool, b"for the helper")
    store.put([entry])
    for _ in range(2):
        path = store.path(entry.blob.digest)
        seen = subprocess.run(["cat", path], check=True, capture_output=True)
        assert seen.stdout == b"for the helper"


def test_digests_come_in_order(store: Store, spool: Spool) -> None:
    entries = [spooled(spool, str(number).encode()) for number in range(40)]
    store.put(entries[:30])
    store.put(entries[20:])
    assert list(store.digests()) == sorted(entry.blob.digest for entry in entries)


def test_remove_is_idempotent_and_the_file_can_come_back(store: Store, spool: Spool) -> None:
    entry, other = spooled(spool, b"one"), spooled(spool, b"two")
    store.put([entry, other])
    store.remove(entry.blob.digest)
    store.remove(entry.blob.digest)
    store.remove(ABSENT)
    assert list(store.digests()) == [other.blob.digest]
    store.put([entry])
    assert store.read(entry.blob.digest) == b"one"


ASK: dict[str, Callable[[Store, str], object]] = {
    "open": lambda store, digest: store.open(digest),
    "read": lambda store, digest: store.read(digest),
    "path": lambda store, digest: store.path(digest),
    "size": lambda store, digest: store.size(digest),
    "verify": lambda store, digest: store.verify(digest),
}


@pytest.mark.parametrize("ask", ASK.values(), ids=ASK)
def test_what_is_not_stored_is_not_found(store: Store, ask: Callable[[Store, str], object]) -> None:
    assert not store.contains(ABSENT)
    with pytest.raises(NotFound, match=ABSENT):
        ask(store, ABSENT)


@pytest.mark.parametrize("text", NO_DIGESTS)
@pytest.mark.parametrize("ask", [*ASK.values(), Store.contains, Store.remove])
def test_what_is_no_digest_never_gets_near_a_path(
    store: Store, ask: Callable[[Store, str], object], text: str
) -> None:
    if ask in (Store.contains, Store.remove):
        ask = getattr(type(store), ask.__name__)
    with pytest.raises(Invalid):
        ask(store, text)


def test_verify_finds_one_flipped_bit(store: Store, spool: Spool) -> None:
    entry, other = spooled(spool, b"\0" * 5000), spooled(spool, b"\1" * 5000)
    store.put([entry, other])
    entry.remove()
    damage(store, entry.blob.digest)
    with pytest.raises(Corrupt, match=entry.blob.digest):
        store.verify(entry.blob.digest)
    store.verify(other.blob.digest)


def test_many_senders_may_store_the_same_files_at_once(store: Store, spool: Spool) -> None:
    contents = [str(number).encode() * 100 for number in range(20)]

    def send(shift: int) -> None:
        entries = [spooled(spool, data) for data in contents[shift:] + contents[:shift]]
        store.put(entries)
        for entry in entries:
            entry.remove()

    with ThreadPoolExecutor(8) as senders:
        list(senders.map(send, range(16)))
    digests = list(store.digests())
    assert len(digests) == len(contents)
    assert {store.read(digest) for digest in digests} == set(contents)


def test_a_healthy_store_passes_its_check(store: Store) -> None:
    store.check()
    assert list(store.digests()) == []


def test_discarded_files_are_gone_but_those_that_are_wanted(store: Store, spool: Spool) -> None:
    entries = [spooled(spool, bytes([number]) * 100) for number in range(3)]
    digests = [entry.blob.digest for entry in entries]
    store.put(entries)

    def wanted() -> set[str]:
        # While it is asked, none of them can be found.
        assert [store.contains(digest) for digest in digests] == [False, False, True]
        return {digests[0], digests[2]}

    store.discard([*digests[:2], ABSENT], wanted)
    assert sorted(store.digests()) == sorted([digests[0], digests[2]])
    store.verify(digests[0])
    store.discard(digests[:2], set)
    assert list(store.digests()) == [digests[2]]


def test_discarded_files_are_kept_elsewhere_but_those_that_are_wanted(
    store: Store, spool: Spool, tmp_path: Path
) -> None:
    entries = [spooled(spool, bytes([number]) * 100) for number in range(3)]
    digests = [entry.blob.digest for entry in entries]
    store.put(entries)
    folder = tmp_path / "kept" / "here"
    for _ in range(2):  # again after a crash
        store.discard(digests[:2], lambda: {digests[0]}, folder)
        assert sorted(store.digests()) == sorted([digests[0], digests[2]])
        assert [path.name for path in folder.iterdir()] == [digests[1]]
    assert sha256sum(folder / digests[1]) == digests[1]
    store.put([entries[1]])  # stored again, and discarded again
    store.discard([digests[1]], set, folder)
    assert not store.contains(digests[1])
    assert sha256sum(folder / digests[1]) == digests[1]


def test_discarding_deletes_nothing_if_nobody_knows_what_is_wanted(
    store: Store, spool: Spool
) -> None:
    entry = spooled(spool, b"abc")
    store.put([entry])

    def wanted() -> set[str]:
        raise StorageUnavailable("nobody knows")

    with pytest.raises(StorageUnavailable):
        store.discard([entry.blob.digest], wanted)
    assert store.read(entry.blob.digest) == b"abc"


def test_what_is_stored_again_while_it_is_discarded_stays(store: Store, spool: Spool) -> None:
    entry = spooled(spool, b"abc")
    store.put([entry])

    def wanted() -> set[str]:
        store.put([entry])
        return set()

    store.discard([entry.blob.digest], wanted)
    assert store.read(entry.blob.digest) == b"abc"


def test_two_may_discard_the_same_file(store: Store, spool: Spool) -> None:
    entry = spooled(spool, b"abc")
    digest = entry.blob.digest
    store.put([entry])

    def wanted() -> set[str]:
        store.discard([digest], lambda: {digest})  # the other finds it wanted
        return set()

    store.discard([digest], wanted)
    assert list(store.digests()) in ([], [digest])
    store.discard([digest], set)
    assert list(store.digests()) == []


def test_a_stored_file_tells_who_sent_it_and_when(store: Store, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    entry = spooled(spool, b"who sent me?")
    spool.close()
    store.put([entry])
    entry.remove()
    assert store.origin(entry.blob.digest) == ORIGIN
    with pytest.raises(NotFound):
        store.origin(ABSENT)
