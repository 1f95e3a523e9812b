"""Damaged files give a header, frames, a rewritten file or a domain error, and soon."""

import io
import random
import time
from contextlib import suppress
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.core.errors import HilumError
from hilum.core.instance import Header
from hilum.imaging.decode import NATIVE
from hilum.imaging.encoding import EXPLICIT_VR_LITTLE_ENDIAN as EXPLICIT
from hilum.imaging.encoding import IMPLICIT_VR_LITTLE_ENDIAN as IMPLICIT
from hilum.imaging.frames import read_frame
from hilum.imaging.header import read_header
from hilum.imaging.reader import open_reader
from hilum.imaging.transcode import transcode
from tests.corpus import all_files

#: Offsets whose bytes matter most: lengths and VRs live at the front.
HEADER_BYTES = 4096
INTERESTING = [b"\0", b"\xff", b"\xff\xff\xff\xff", b"\xfe\xff\0\xe0", b"\xfe\xff\x0d\xe0"]
INTERESTING += [b"\xfe\xff\xdd\xe0\0\0\0\0", b"\xe0\x7f\x10\0", b"SQ\0\0\xff\xff\xff\xff", b"UN"]


@cache
def small_files() -> tuple[bytes, ...]:
    return tuple(path.read_bytes() for path in all_files() if path.stat().st_size < 60_000)


def read_all(data: bytes) -> Header | None:
    """Read a header and each of the frames as ingest and a viewer would."""
    file = io.BytesIO(data)
    try:
        header = read_header(file)
        reader = open_reader(file, header.transfer_syntax_uid, header.data_set_offset)
        if header.pixel_data is not None:
            for index in range(min(header.pixel_data.frame_count, 20)):
                read_frame(reader, header.pixel_data, index, 8 * 64)
    except HilumError:
        return None
    return header


def timed(data: bytes) -> None:
    started = time.thread_time()
    header = read_all(data)
    if header and header.transfer_syntax_uid in NATIVE:
        with suppress(HilumError):
            out = io.BytesIO()
            transcode(io.BytesIO(data), header.transfer_syntax_uid, IMPLICIT, out)
            transcode(io.BytesIO(data), header.transfer_syntax_uid, EXPLICIT, out)
    assert time.thread_time() - started < 5


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_truncated_files(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(small_files()))
    timed(whole[: data.draw(st.integers(0, len(whole)))])


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", b"\x08\0", b"\0\x08", b"\2\0\0\0UL\4\0"]))
def test_bytes_out_of_nowhere(data: bytes, start: bytes) -> None:
    timed(start + data)
    timed(bytes(128) + b"DICM" + start + data)


def test_files_with_bytes_changed() -> None:
    # A seed of its own rather than Hypothesis: shrinking a file of 50 KB teaches nothing.
    rng = random.Random(20261122)
    files = small_files()
    for _ in range(1500):
        data = bytearray(rng.choice(files))
        for _ in range(rng.randint(1, 8)):
            at = rng.randrange(min(len(data), HEADER_BYTES)) if data else 0
            patch = rng.choice([*INTERESTING, rng.randbytes(rng.randint(1, 4))])
            data[at : at + len(patch)] = patch
        if rng.random() < 0.2:
            at = rng.randrange(len(data) + 1)
            data[at:at] = rng.choice(INTERESTING)
        timed(bytes(data))
