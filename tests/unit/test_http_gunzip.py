"""Unpacking bodies, against Python's own gzip."""

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.http.archive import ArchiveLimits
from hilum.http.body import WholeBody
from hilum.http.gunzip import Gunzip
from hilum.http.multipart import Malformed, PartData

LIMITS = ArchiveLimits(ratio=100, ratio_free_bytes=10 << 20, unpacked_bytes=1 << 30)


def unpacked(*pieces: bytes, limits: ArchiveLimits = LIMITS) -> bytes:
    parser = Gunzip(WholeBody(""), limits)
    events = [event for piece in pieces for event in parser.feed(piece)]
    events += parser.end()
    return b"".join(event.data for event in events if isinstance(event, PartData))


@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=3), st.integers(1, 500))
def test_members_come_out_whole_however_they_are_cut(contents: list[bytes], size: int) -> None:
    body = b"".join(gzip.compress(content, mtime=0) for content in contents)
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    assert unpacked(*pieces) == b"".join(contents)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no gzip",
        gzip.compress(b"a" * 99, mtime=0)[:-1],
        gzip.compress(b"a" * 99, mtime=0)[:-5] + b"\0" * 5,
        gzip.compress(b"a" * 99, mtime=0) + b"junk",
        zlib.compress(b"a" * 99),
    ],
)
def test_what_gzip_has_not_made_whole_is_refused(body: bytes) -> None:
    with pytest.raises(Malformed):
        unpacked(body)


def test_a_bomb_is_refused_before_it_goes_off() -> None:
    bomb = gzip.compress(bytes(50 << 20))
    assert len(bomb) < 100_000
    parser = Gunzip(WholeBody(""), LIMITS)
    tracemalloc.start()
    try:
        with pytest.raises(Malformed, match="beyond all measure"):
            for _ in parser.feed(bomb):
                pass
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert len(unpacked(gzip.compress(bytes(9 << 20)))) == 9 << 20
