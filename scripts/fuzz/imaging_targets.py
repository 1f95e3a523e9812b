"""Files as modalities send them and people upload them: from the header to the picture."""

import asyncio
import io
import tempfile
import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path
from random import Random
from typing import Final

import orjson
import pydicom

from hilum.core.errors import HilumError
from hilum.core.instance import Header
from hilum.imaging.codestream import j2k_header, jpeg_header, rle_segments
from hilum.imaging.data_set_json import BASE, data_set_json
from hilum.imaging.data_set_values import find_value, parse_path
from hilum.imaging.decode import NATIVE
from hilum.imaging.description import describe
from hilum.imaging.dicomdir import Directory, Entry
from hilum.imaging.encoding import EXPLICIT_VR_LITTLE_ENDIAN, IMPLICIT_VR_LITTLE_ENDIAN
from hilum.imaging.frames import read_frame, read_head
from hilum.imaging.header import is_encoded_as_stated, read_header
from hilum.imaging.picture import draw
from hilum.imaging.reader import open_reader
from hilum.imaging.rendering import Extraction, Rendering, Viewport
from hilum.imaging.tag_json import data_set_tags
from hilum.imaging.transcode import can_transcode, transcode
from hilum.imaging.workers import DecodeWorkers
from scripts.fuzz import corpus
from scripts.fuzz.codestreams import STREAMS
from scripts.fuzz.elements import PIXELS, STRUCTURE
from scripts.fuzz.mutations import ANYWHERE
from scripts.fuzz.target import target

_MOST_FRAMES: Final = 16
_PICTURES: Final = 3
_HELPER_SECONDS: Final = 10.0
_INTEGERS: Final = range(-(1 << 63), 1 << 63)


@target(
    "header",
    "the header scan, and what the index keeps of it",
    corpus.data_sets,
    STRUCTURE * 2 + ANYWHERE,
)
def read(data: bytes) -> None:
    """Read a header, and see that the index could keep it."""
    file = io.BytesIO(data)
    header = read_header(file)
    is_encoded_as_stated(file, header)
    orjson.dumps(header.attributes)
    assert _fits(header.attributes), "a number that MongoDB cannot keep"
    if header.pixel_data:
        described(file, header)


def _fits(value: object) -> bool:
    """Return whether MongoDB takes it: integers of 64 bits, strings without surrogates."""
    if isinstance(value, dict):
        return all(map(_fits, value.values()))
    if isinstance(value, list):
        return all(map(_fits, value))
    return not isinstance(value, int) or value in _INTEGERS


def described(file: io.BytesIO, header: Header) -> None:
    """Read what the header says about the pixels."""
    assert header.pixel_data
    reader = open_reader(file, header.transfer_syntax_uid, header.data_set_offset)
    head = read_head(reader, header.data_set_offset, header.pixel_data)
    describe(head, header.transfer_syntax_uid)


@target(
    "frames",
    "items, offset tables and code stream headers",
    corpus.compressed,
    STREAMS * 2 + ANYWHERE,
)
def find_frames(data: bytes) -> None:
    """Find the frames of a file, and read what each says of itself."""
    file = io.BytesIO(data)
    header = read_header(file)
    reader = open_reader(file, header.transfer_syntax_uid, header.data_set_offset)
    if header.pixel_data is None:
        return
    frames = header.pixel_data.frame_count
    for index in {*range(min(frames, _MOST_FRAMES)), frames - 1, frames}:
        with suppress(HilumError):
            frame = read_frame(reader, header.pixel_data, index, 8 * 64)
            for parse in (jpeg_header, j2k_header):
                with suppress(HilumError):
                    parse(frame)
            rle_segments(frame, 2, 576)


@target(
    "decode",
    "decoders and renderers, in this process",
    lambda: corpus.images() + corpus.compressed(),
    STREAMS * 2 + PIXELS * 4 + STRUCTURE,
)
def draw_here(data: bytes) -> None:
    """Draw some frames in some ways."""
    header = read_header(io.BytesIO(data))
    for path, frame_index, rendering in _pictures(data, header):
        assert header.pixel_data
        with suppress(HilumError):
            draw(
                path,
                header.pixel_data,
                header.transfer_syntax_uid,
                header.data_set_offset,
                frame_index,
                rendering,
            )


@target(
    "helper", "decoders and renderers, in a helper process", corpus.compressed, STREAMS * 2 + PIXELS
)
def draw_there(data: bytes) -> None:
    """Draw some frames as the node does: crashes and delays of codecs are refusals there."""
    header = read_header(io.BytesIO(data))
    for path, frame_index, rendering in _pictures(data, header):
        assert header.pixel_data
        arguments = (header.transfer_syntax_uid, header.data_set_offset, frame_index, rendering)
        with suppress(HilumError):
            _loop().run_until_complete(_workers().picture(path, header.pixel_data, *arguments))


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    return loop


@cache
def _workers() -> DecodeWorkers:
    return DecodeWorkers(1, _HELPER_SECONDS)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="hilum-fuzz-")


def _pictures(data: bytes, header: Header) -> list[tuple[Path, int, Rendering]]:
    """Write the file; return which of its frames to draw, and how."""
    if header.pixel_data is None:
        return []
    path = Path(_folder().name) / f"{zlib.crc32(data):08x}.dcm"
    path.write_bytes(data)
    random = Random(data)
    frames = range(header.pixel_data.frame_count)
    return [(path, random.choice(frames), _rendering(random)) for _ in range(_PICTURES)]


def _rendering(random: Random) -> Rendering:
    """Return a rendering that a client may ask for."""
    if random.random() < 0.1:
        return Rendering(values="stored")
    if random.random() < 0.2:
        return Rendering(extraction=_extraction(random), format=random.choice(("png", "pam")))
    window = random.choice(
        ((None, None), (None, None), (40.0, 400.0), (1e300, 1e-300), (-1e9, 2.0))
    )
    viewports = (
        Viewport(7, 300),
        Viewport(64, 64, 3.5, 2, -10, 5),
        Viewport(1, 1, 1e9, 0, 1e-9, 1),
    )
    return Rendering(
        center=window[0],
        width=window[1],
        function=random.choice((None, "LINEAR_EXACT", "SIGMOID")),
        invert=random.random() < 0.3,
        size=random.choice((None, 1, 16, 65535)),
        window_index=random.choice((0, 0, 0, 1)),
        viewport=random.choice((None, None, *viewports)),
        overlays=random.random() < 0.5,
        format=random.choice(("png", "png", "jpeg", "webp")),
        quality=random.choice((None, 1, 100)),
    )


def _extraction(random: Random) -> Extraction:
    """Return what a client of Orthanc may ask for."""
    return Extraction(
        mode=random.choice(("preview", "rendered", "rendered", "uint8", "uint16", "int16")),
        center=random.choice((None, 0.0, 40.0, -1e300)),
        width=random.choice((None, 400.0, 1e-300, 1e300)),
        columns=random.choice((0, 0, 1, 17, 300)),
        rows=random.choice((0, 0, 1, 31)),
        smooth=random.random() < 0.5,
    )


@target(
    "tags",
    "whole data sets in Orthanc's JSON, and in the directory of a file set",
    corpus.data_sets,
    STRUCTURE * 2 + ANYWHERE,
)
def tell_tags(data: bytes) -> None:
    """Tell the elements in every form, and write a DICOMDIR that lists the file."""
    header = read_header(io.BytesIO(data))
    syntax, start = header.transfer_syntax_uid, header.data_set_offset
    reader = open_reader(io.BytesIO(data), syntax, start)
    end = header.pixel_data.offset if header.pixel_data else reader.size
    head = reader.read_at(start, end - start)
    numbers = len(orjson.loads(orjson.dumps(data_set_tags(head, syntax))))
    assert numbers == len(data_set_tags(head, syntax, "short"))
    orjson.dumps(data_set_tags(head, syntax, "simple"))
    directory = Directory("FUZZ", "1.2.3")
    who = header.identity
    above = (who.patient_id, who.study_instance_uid, who.series_instance_uid)
    file_id = "IMAGES\\IM0"
    directory.add(Entry(file_id, header.sop_class_uid, who.sop_instance_uid, syntax, *above, head))
    listed = pydicom.dcmread(io.BytesIO(directory.encoded()))
    assert len(listed.DirectoryRecordSequence) == 4, "records that cannot be read"


@target(
    "metadata",
    "whole data sets as DICOM JSON, and the bulk data that they name",
    corpus.data_sets,
    STRUCTURE * 2 + ANYWHERE,
)
def list_elements(data: bytes) -> None:
    """Write a data set as JSON, and find every value that it names."""
    file = io.BytesIO(data)
    header = read_header(file)
    reader = open_reader(file, header.transfer_syntax_uid, header.data_set_offset)
    place = (header.data_set_offset, header.transfer_syntax_uid, header.pixel_data)
    text = data_set_json(reader, *place)
    elements = orjson.loads(text.replace(BASE, b""))
    assert "00080018" in elements, "a data set without its SOP Instance UID"
    for path in _bulk_paths(text)[:_MOST_FRAMES]:
        with suppress(HilumError):
            value = find_value(reader, *place, parse_path(path))
            assert value.offset + value.length <= reader.size, "a value past the end"


def _bulk_paths(text: bytes) -> list[str]:
    parts = text.split(BASE + b"/bulkdata/")[1:]
    return [part.partition(b'"')[0].decode() for part in parts]


@target(
    "transcode",
    "files rewritten in another transfer syntax",
    corpus.data_sets,
    STRUCTURE * 2 + STREAMS + ANYWHERE,
)
def rewrite(data: bytes) -> None:
    """Write a file in both of the syntaxes that every peer takes; what comes out is readable."""
    header = read_header(io.BytesIO(data))
    for syntax in (IMPLICIT_VR_LITTLE_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN):
        if can_transcode(header.transfer_syntax_uid, syntax):
            out = io.BytesIO()
            transcode(io.BytesIO(data), header.transfer_syntax_uid, syntax, out)
            if header.transfer_syntax_uid in NATIVE:
                uid = read_header(out).identity.sop_instance_uid
                assert uid == header.identity.sop_instance_uid, "another instance"
