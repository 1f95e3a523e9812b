"""What clients write into Accept, and what they are taken to mean (RFC 9110 12.5.1, PS3.18 8.7)."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hilum.core.errors import Invalid, NotFound
from hilum.http.dicomweb.frames import frame_forms, parse_frames
from hilum.http.dicomweb.instances import forms
from hilum.http.dicomweb.media_types import Form, Range, choose, content_type, parse_accept
from hilum.http.dicomweb.sending import FileRange, part_of, size_of

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
JPEG_LS, MPEG4 = "1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.102"


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("*/*", [Range("*/*")]),
        ("image/JPEG", [Range("image/jpeg", False)]),
        (
            'multipart/related; type="application/dicom"; transfer-syntax=*',
            [Range("application/dicom", True, "*")],
        ),
        (
            f"multipart/related;type=application/dicom;transfer-syntax={JPEG_LS};q=0.5",
            [Range("application/dicom", True, JPEG_LS, 0.5)],
        ),
        (
            f'multipart/related; type="application/octet-stream; transfer-syntax={EXPLICIT}"',
            [Range("application/octet-stream", True, EXPLICIT)],
        ),
        ('multipart/related; TYPE="*/*"', [Range("*/*", True)]),
        ("multipart/related", [Range("*/*", True)]),
        ("multipart/*;q=0", [Range("*/*", True, quality=0.0)]),
        (
            'multipart/related; type="a,b", text/plain;q=0.25 , image/x-jls',
            [
                Range("a,b", True),
                Range("text/plain", False, quality=0.25),
                Range("image/jls", False),
            ],
        ),
        (r'text/plain; a="\",q=0.1"; q=0.2', [Range("text/plain", False, quality=0.2)]),
        ("text/plain;q=7", [Range("text/plain", False)]),
        ("nonsense, , ;q=1, image/png", [Range("image/png", False)]),
        ("", []),
    ],
)
def test_ranges(text: str, ranges: list[Range]) -> None:
    assert list(parse_accept(text)) == ranges


@given(st.text() | st.from_regex(re.compile(r"[a-z*/;=\", .q0-9\\-]*"), fullmatch=True))
def test_any_text_gives_ranges_and_no_error(text: str) -> None:
    for each in parse_accept(text):
        assert 0 <= each.quality <= 1
        assert choose([[each]], frame_forms(JPEG_LS, single=True)) is None or each.quality > 0


def chosen(text: str, offered: list[Form]) -> str | None:
    form = choose([parse_accept(text)], offered)
    if form is None:
        return None
    return ("multipart " if form.multipart else "") + content_type(form)


@pytest.mark.parametrize(
    ("stored", "text", "expected"),
    [
        # Who names none means Explicit VR Little Endian...
        (IMPLICIT, 'multipart/related; type="application/dicom"', f"multipart {EXPLICIT}"),
        (JPEG_LS, "*/*", f"multipart {EXPLICIT}"),
        # ...unless there is no way there.
        (MPEG4, 'multipart/related; type="application/dicom"', f"multipart {MPEG4}"),
        (JPEG_LS, "multipart/related; type=application/dicom; transfer-syntax=*",
         f"multipart {JPEG_LS}"),
        (JPEG_LS, f"application/dicom; transfer-syntax={IMPLICIT}", IMPLICIT),
        (MPEG4, f"application/dicom; transfer-syntax={EXPLICIT}", None),
        (IMPLICIT, f"application/dicom; transfer-syntax={JPEG_LS}", JPEG_LS),
        (MPEG4, f"application/dicom; transfer-syntax={JPEG_LS}", None),
        (EXPLICIT, "application/dicom", EXPLICIT),
        (EXPLICIT, "application/*, multipart/related;q=0.1", EXPLICIT),
        (EXPLICIT, "image/png", None),
        (EXPLICIT, "*/*;q=0", None),
    ],
)  # fmt: skip
def test_what_an_instance_is_sent_as(stored: str, text: str, expected: str | None) -> None:
    found = chosen(text, forms(stored, single=True))
    if found is not None:
        found = found.replace("application/dicom; transfer-syntax=", "")
    assert found == expected


@pytest.mark.parametrize(
    ("stored", "text", "expected"),
    [
        (JPEG_LS, 'multipart/related; type="*/*"',
         f"multipart image/jls; transfer-syntax={JPEG_LS}"),
        (JPEG_LS, "*/*", f"multipart image/jls; transfer-syntax={JPEG_LS}"),
        # OHIF
        (
            JPEG_LS,
            'multipart/related; type="application/octet-stream"; transfer-syntax=*',
            f"multipart image/jls; transfer-syntax={JPEG_LS}",
        ),
        (
            JPEG_LS,
            'multipart/related; type="application/octet-stream"',
            f"multipart application/octet-stream; transfer-syntax={EXPLICIT}",
        ),
        (JPEG_LS, "image/*", f"image/jls; transfer-syntax={JPEG_LS}"),
        (JPEG_LS, "image/x-jls", f"image/jls; transfer-syntax={JPEG_LS}"),
        (JPEG_LS, "image/jpeg, application/octet-stream;q=0.1",
         f"application/octet-stream; transfer-syntax={EXPLICIT}"),
        # The narrower range says that it is not wanted.
        (JPEG_LS, "*/*, multipart/related; type=image/jls; q=0",
         f"multipart application/octet-stream; transfer-syntax={EXPLICIT}"),
        (JPEG_LS, "image/jxl", None),
        # Compressed anew where nothing nearer is taken.
        (JPEG_LS, "image/jp2", "image/jp2; transfer-syntax=1.2.840.10008.1.2.4.90"),
        (EXPLICIT, f"application/octet-stream; transfer-syntax={JPEG_LS}",
         f"image/jls; transfer-syntax={JPEG_LS}"),
        (EXPLICIT, "application/octet-stream; transfer-syntax=*",
         f"application/octet-stream; transfer-syntax={EXPLICIT}"),
        (IMPLICIT, "*/*", f"multipart application/octet-stream; transfer-syntax={EXPLICIT}"),
        (MPEG4, "video/mp4", f"video/mp4; transfer-syntax={MPEG4}"),
        (MPEG4, "application/octet-stream", None),
    ],
)  # fmt: skip
def test_what_a_frame_is_sent_as(stored: str, text: str, expected: str | None) -> None:
    assert chosen(text, frame_forms(stored, single=True)) == expected


def test_what_is_no_image_is_not_compressed() -> None:
    asked = f"application/dicom; transfer-syntax={JPEG_LS}"
    assert chosen(asked, forms(EXPLICIT, single=True, has_frames=False)) is None


def test_several_frames_need_a_multipart() -> None:
    assert chosen("image/jls", frame_forms(JPEG_LS, single=False)) is None


@pytest.mark.parametrize(
    ("text", "indices"), [("1", (0,)), ("3,1", (2, 0)), ("2-4,4", (1, 2, 3, 3)), ("10", (9,))]
)
def test_lists_of_frames(text: str, indices: tuple[int, ...]) -> None:
    assert parse_frames(text, 10) == indices


@given(st.text(alphabet="0123456789,-. a\u0661", max_size=12))
def test_any_list_of_frames_is_understood_or_refused(text: str) -> None:
    try:
        indices = parse_frames(text, 50)
    except (Invalid, NotFound):
        return
    assert all(0 <= index < 50 for index in indices)
    assert len(text.split(",")) <= len(indices)


def test_a_long_range_is_refused_before_it_is_written_out() -> None:
    with pytest.raises(NotFound):
        parse_frames("1-9999999999", 10)
    with pytest.raises(Invalid):
        parse_frames(",".join(["1-99999"] * 3), 100_000)


@given(st.lists(st.integers(0, 9), max_size=6), st.integers(0, 40), st.integers(0, 40))
def test_a_part_of_pieces_is_what_a_slice_of_their_bytes_is(
    sizes: list[int], start: int, stop: int
) -> None:
    """Pieces are bytes and ranges of a file in turn; the file's bytes are their offsets."""
    whole = bytes(range(sum(sizes)))
    pieces: list[bytes | FileRange] = []
    offset = 0
    for index, size in enumerate(sizes):
        in_memory = index % 2 == 0
        pieces.append(whole[offset : offset + size] if in_memory else _range(offset, size))
        offset += size
    found = list(part_of(pieces, start, stop))
    assert all(size_of(piece) for piece in found)
    read = b"".join(
        piece if isinstance(piece, bytes) else whole[piece.offset : piece.offset + piece.size]
        for piece in found
    )
    assert read == whole[start:stop]


def _range(offset: int, size: int) -> FileRange:
    def never() -> None:
        raise AssertionError("opened")

    return FileRange(never, offset, size)  # type: ignore[arg-type]
