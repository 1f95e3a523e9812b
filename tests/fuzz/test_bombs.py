"""Small input that claims to be large is refused by its claim: hardly any memory is taken."""

import io
import os
import resource
import struct
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom.dataset import FileDataset

from hilum.core.errors import HilumError
from hilum.core.instance import Header
from hilum.http.archive import Archive, ArchiveLimits, entries
from hilum.imaging.header import read_header
from hilum.imaging.picture import draw
from hilum.imaging.rendering import Rendering
from scripts.fuzz import corpus
from scripts.fuzz.codestreams import claim_size
from tests.generated import ct

MEGABYTE = 1 << 20
SECONDS = 10.0
DEFLATED = "1.2.840.10008.1.2.1.99"


def outcome(run: Callable[[], object]) -> tuple[str, int, float]:
    """Return how `run` ends, and what memory and processor time it took, in a new process."""
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        before, begun = _resident(), time.process_time()
        try:
            run()
            end = "result"
        except HilumError as error:
            end = error.code
        except BaseException as error:  # noqa: BLE001 - to be told where it can be asserted
            end = repr(error)
        grown, seconds = _resident() - before, time.process_time() - begun
        os.write(writing, f"{end}\n{grown}\n{seconds}".encode())
        os._exit(0)
    os.close(writing)
    _, status = os.waitpid(process, 0)
    assert status == 0
    end, grown, seconds = os.read(reading, 10_000).decode().split("\n")
    os.close(reading)
    return end, int(grown), float(seconds)


def _resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def encoded(data_set: FileDataset) -> bytes:
    file = io.BytesIO()
    data_set.save_as(file, enforce_file_format=True)
    return file.getvalue()


def picture(data: bytes) -> Callable[[], object]:
    """Return what reads a file's header and draws its first frame."""

    def run() -> bytes:
        header = read_header(io.BytesIO(data))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "bomb.dcm"
            path.write_bytes(data)
            return drawn(path, header)

    return run


def drawn(path: Path, header: Header) -> bytes:
    assert header.pixel_data
    syntax, offset = header.transfer_syntax_uid, header.data_set_offset
    return draw(path, header.pixel_data, syntax, offset, 0, Rendering())


def syntax_of(data: bytes) -> str:
    return read_header(io.BytesIO(data)).transfer_syntax_uid


@pytest.mark.parametrize("data", corpus.compressed(), ids=syntax_of)
@pytest.mark.parametrize("side", [17_000, 65_000])
def test_a_code_stream_and_a_header_that_agree_on_a_giant(data: bytes, side: int) -> None:
    bomb = bytearray(data)
    claim_size(bomb, side, side)
    end, grown, seconds = outcome(picture(bytes(bomb)))
    assert end in {"unsupported", "undecodable", "corrupt"}
    assert grown < 64 * MEGABYTE
    assert seconds < SECONDS


@pytest.mark.parametrize("data", corpus.images(), ids=range(len(corpus.images())))
def test_native_pixels_that_claim_to_be_a_giant(data: bytes) -> None:
    bomb = bytearray(data)
    claim_size(bomb, 65_535, 65_535)
    end, grown, seconds = outcome(picture(bytes(bomb)))
    assert end in {"result", "unsupported", "corrupt", "undecodable"}  # deflated: not changed
    assert grown < 64 * MEGABYTE
    assert seconds < SECONDS


def test_more_frames_than_there_are_bytes_for() -> None:
    end, grown, seconds = outcome(picture(encoded(ct(NumberOfFrames="2147483647"))))
    assert (end, grown < 64 * MEGABYTE, seconds < SECONDS) == ("result", True, True)


def deflated(data_set: FileDataset, padding: int) -> bytes:
    """Return a deflated file with `padding` zeros in a private element in front of the pixels."""
    data = encoded(data_set)
    offset = read_header(io.BytesIO(data)).data_set_offset
    pixels = data.index(b"\xe0\x7f\x10\0")
    element = struct.pack("<HH2sHI", 0x7FDF, 0x1001, b"OB", 0, padding)
    stream = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)

    def packed(part: bytes) -> bytes:
        # Whole blocks, of which nothing refers to others: they can be repeated.
        return stream.compress(part) + stream.flush(zlib.Z_FULL_FLUSH)

    zeros = packed(bytes(MEGABYTE)) * (padding // MEGABYTE)
    body = packed(data[offset:pixels] + element) + zeros + packed(data[pixels:]) + stream.flush()
    syntax = data[:offset].replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.1.99")
    at = syntax.index(b"1.2.840.10008.1.2.1.99")
    syntax = syntax[: at - 2] + struct.pack("<H", 22) + syntax[at:]
    return syntax + body


@pytest.mark.parametrize(
    ("megabytes", "end"), [(4, "result"), (100, "unsupported"), (1100, "not-dicom")]
)
def test_a_header_that_inflates_a_thousandfold(megabytes: int, end: str) -> None:
    """It is read through a window, and given up at a gigabyte."""
    data = deflated(ct(), megabytes * MEGABYTE)
    assert len(data) < 12_000 + megabytes * MEGABYTE // 900
    found, grown, seconds = outcome(picture(data))
    assert found == end
    assert grown < 128 * MEGABYTE
    assert seconds < SECONDS


def test_an_archive_that_unpacks_a_thousandfold(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(4):
            archive.writestr(str(number), bytes(4 * MEGABYTE), compresslevel=9)

    def unpack() -> None:
        with path.open("rb") as file:
            for entry in entries(file, ArchiveLimits(ratio_free_bytes=MEGABYTE)):
                for _ in entry.pieces():
                    pass

    end, grown, seconds = outcome(unpack)
    assert end == Archive.code
    assert grown < 64 * MEGABYTE
    assert seconds < SECONDS
