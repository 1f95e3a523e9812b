"""Samples out of stored bytes: what the standard says, and what hostile files claim."""

import contextlib
import io
import struct
import tracemalloc
import zlib
from dataclasses import replace

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from hilum.core.errors import Corrupt, HilumError, Unsupported
from hilum.imaging.codestream import FrameHeader, j2k_header, jpeg_header
from hilum.imaging.decode import decode_frame, decoded_photometric_interpretation
from hilum.imaging.description import (
    DOUBLE_FLOAT_PIXEL_DATA,
    FLOAT_PIXEL_DATA,
    PIXEL_DATA,
    ImageDescription,
)
from hilum.imaging.grey import GreyTransform
from hilum.imaging.jpegxl import jxl_header

LITTLE, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
JPEG, JPEG_LOSSLESS, JPEG_LS = (f"1.2.840.10008.1.2.4.{n}" for n in (50, 70, 80))
J2K, HTJ2K = "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.201"
JPEG_XL, JPEG_XL_JPEG = (f"1.2.840.10008.1.2.4.{n}" for n in (110, 111))
DEFLATED_FRAME, UNCOMPRESSED = "1.2.840.10008.1.2.8.1", "1.2.840.10008.1.2.1.98"
RLE = "1.2.840.10008.1.2.5"
MPEG2 = "1.2.840.10008.1.2.4.100"


def image(rows: int = 4, columns: int = 6, **values: object) -> ImageDescription:
    description = ImageDescription(
        rows=rows,
        columns=columns,
        samples_per_pixel=1,
        photometric_interpretation="MONOCHROME2",
        bits_allocated=16,
        bits_stored=16,
        high_bit=15,
        signed=False,
        planar_configuration=0,
        pixel_tag=PIXEL_DATA,
        pixel_vr="OW",
        transforms=(GreyTransform(),),
    )
    return replace(description, **values)  # type: ignore[arg-type]


def byte_image(rows: int = 4, columns: int = 6, **values: object) -> ImageDescription:
    return image(rows, columns, **{"bits_allocated": 8, "bits_stored": 8, "high_bit": 7, **values})


def colour_image(rows: int = 4, columns: int = 6, **values: object) -> ImageDescription:
    given = {"samples_per_pixel": 3, "photometric_interpretation": "RGB", "pixel_vr": "OB"}
    return byte_image(rows, columns, **{**given, **values})


def ramp(rows: int, columns: int, top: int = 4095, dtype: str = "u2") -> NDArray[np.generic]:
    return (np.add.outer(np.arange(rows) * 37, np.arange(columns) * 5) % (top + 1)).astype(dtype)


@settings(max_examples=120, deadline=None)
@given(
    allocated=st.sampled_from([8, 16, 32]),
    data=st.data(),
    signed=st.booleans(),
    big=st.booleans(),
    rle=st.booleans(),
)
def test_only_the_stored_bits_count(
    allocated: int, data: st.DataObject, signed: bool, big: bool, rle: bool
) -> None:
    """PS3.5 8.1.1: overlays, or anything, may lie beside the stored bits."""
    stored = data.draw(st.integers(1, allocated))
    high = data.draw(st.integers(stored - 1, allocated - 1))
    cells = data.draw(st.lists(st.integers(0, 2**allocated - 1), min_size=6, max_size=6))
    description = image(
        2,
        3,
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=high,
        signed=signed,
        pixel_vr="OB",
    )
    width = allocated // 8
    if rle:
        syntax, frame = RLE, rle_frame([cell.to_bytes(width, "big") for cell in cells])
    else:
        syntax = BIG if big else LITTLE
        frame = b"".join(cell.to_bytes(width, "big" if big else "little") for cell in cells)
    expected = []
    for cell in cells:
        value = cell >> (high + 1 - stored) & (2**stored - 1)
        negative = signed and value >= 2 ** (stored - 1)
        expected.append(value - 2**stored if negative else value)
    samples = decode_frame(description, frame, syntax)
    assert samples.dtype == np.dtype(f"{'i' if signed else 'u'}{width}")
    assert samples.reshape(-1).tolist() == expected


def rle_frame(cells: list[bytes]) -> bytes:
    """An RLE frame of one sample a pixel, every byte in a literal run (PS3.5 G)."""
    segments = [
        bytes([len(cells) - 1]) + bytes(cell[index] for cell in cells)
        for index in range(len(cells[0]))
    ]
    segments = [segment + b"\0" * (len(segment) % 2) for segment in segments]
    offsets = [64]
    for segment in segments[:-1]:
        offsets.append(offsets[-1] + len(segment))
    table = struct.pack("<16I", len(segments), *offsets, *[0] * (15 - len(offsets)))
    return table + b"".join(segments)


def test_one_bit_pixels_begin_at_the_lowest_bit() -> None:
    description = image(2, 5, bits_allocated=1, bits_stored=1, high_bit=0)
    samples = decode_frame(description, bytes([0b00110101, 0b11]), LITTLE)
    assert samples.tolist() == [[1, 0, 1, 0, 1], [1, 0, 0, 1, 1]]


def test_colour_by_plane_becomes_colour_by_pixel() -> None:
    pixels = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
    description = colour_image(planar_configuration=1)
    frame = pixels.transpose(2, 0, 1).tobytes()
    np.testing.assert_array_equal(decode_frame(description, frame, LITTLE), pixels)


def test_8_bit_pixels_in_big_endian_words_are_put_in_order() -> None:
    description = byte_image(1, 4, pixel_vr="OW")
    assert decode_frame(description, bytes([2, 1, 4, 3]), BIG).tolist() == [[1, 2, 3, 4]]
    as_bytes = replace(description, pixel_vr="OB")
    assert decode_frame(as_bytes, bytes([1, 2, 3, 4]), BIG).tolist() == [[1, 2, 3, 4]]


def test_subsampled_chroma_is_shared_by_two_pixels() -> None:
    description = colour_image(1, 4, photometric_interpretation="YBR_FULL_422")
    frame = bytes([10, 20, 1, 2, 30, 40, 3, 4])
    samples = decode_frame(description, frame, LITTLE)
    assert samples.tolist() == [[[10, 1, 2], [20, 1, 2], [30, 3, 4], [40, 3, 4]]]
    assert decoded_photometric_interpretation(description, frame, LITTLE) == "YBR_FULL"


def test_subsampled_chroma_has_no_planes() -> None:
    planar = colour_image(1, 4, photometric_interpretation="YBR_FULL_422", planar_configuration=1)
    frame = bytes([10, 20, 1, 2, 30, 40, 3, 4])
    expected = decode_frame(replace(planar, planar_configuration=0), frame, LITTLE)
    np.testing.assert_array_equal(decode_frame(planar, frame, LITTLE), expected)
    odd = colour_image(5, 5, photometric_interpretation="YBR_FULL_422")
    with pytest.raises(Unsupported, match="odd number"):
        decode_frame(odd, bytes(80), LITTLE)


@pytest.mark.parametrize(
    ("tag", "dtype", "syntax"),
    [
        (FLOAT_PIXEL_DATA, "<f4", LITTLE),
        (FLOAT_PIXEL_DATA, ">f4", BIG),
        (DOUBLE_FLOAT_PIXEL_DATA, "<f8", LITTLE),
    ],
)
def test_floating_point_pixels(tag: int, dtype: str, syntax: str) -> None:
    values = np.linspace(-1e5, 1e5, 24).astype(dtype).reshape(4, 6)
    width = values.dtype.itemsize
    description = image(pixel_tag=tag, bits_allocated=8 * width, bits_stored=8 * width)
    samples = decode_frame(description, values.tobytes(), syntax)
    assert samples.dtype == np.dtype(f"f{width}")
    np.testing.assert_array_equal(samples, values)


CODECS = {
    JPEG_LS: imagecodecs.jpegls_encode,
    JPEG_LOSSLESS: lambda pixels: imagecodecs.jpeg8_encode(
        pixels, lossless=True, bitspersample=8 * pixels.dtype.itemsize
    ),
    J2K: lambda pixels: imagecodecs.jpeg2k_encode(
        pixels, level=0, reversible=True, codecformat="j2k"
    ),
    HTJ2K: lambda pixels: imagecodecs.htj2k_encode(pixels, reversible=True),
    JPEG_XL: lambda pixels: imagecodecs.jpegxl_encode(pixels, lossless=True),
}


@pytest.mark.parametrize("syntax", CODECS)
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_lossless_codecs_give_back_what_was_encoded(syntax: str, dtype: str) -> None:
    pixels = ramp(40, 50, np.iinfo(dtype).max, dtype)
    bits = 8 * pixels.dtype.itemsize
    description = image(40, 50, bits_allocated=bits, bits_stored=bits, high_bit=bits - 1)
    samples = decode_frame(description, CODECS[syntax](pixels), syntax)
    assert samples.dtype == pixels.dtype
    np.testing.assert_array_equal(samples, pixels)


@pytest.mark.parametrize("syntax", [JPEG_LS, JPEG_LOSSLESS, JPEG_XL])
def test_signed_pixels_in_codecs_that_know_no_sign(syntax: str) -> None:
    pixels = ramp(16, 16).astype(np.int16) - 2000
    frame = CODECS[syntax](pixels.view(np.uint16))
    samples = decode_frame(image(16, 16, signed=True), frame, syntax)
    np.testing.assert_array_equal(samples, pixels)


def test_a_signed_code_stream_of_unsigned_pixels_is_read_as_the_data_set_says() -> None:
    frame = CODECS[J2K](ramp(16, 16).astype(np.int16) - 2000)
    samples = decode_frame(image(16, 16), frame, J2K)
    expected = (ramp(16, 16).astype(np.int64) - 2000) % 65536
    np.testing.assert_array_equal(samples, expected)


@pytest.mark.parametrize("container", [False, True])
@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("shape", [(64, 50), (512, 512), (17, 9, 3), (480, 640, 3), (8, 256)])
def test_the_header_of_jpeg_xl_is_read_as_its_encoder_wrote_it(
    shape: tuple[int, ...], bits: int, container: bool
) -> None:
    pixels = np.zeros(shape, np.uint8 if bits == 8 else np.uint16)
    frame = imagecodecs.jpegxl_encode(
        pixels, lossless=True, bitspersample=bits, usecontainer=container
    )
    samples = shape[2] if len(shape) == 3 else 1
    assert jxl_header(frame) == FrameHeader(*shape[:2], samples, bits)


def test_jpeg_xl_of_fewer_bits_than_allocated_keeps_its_values() -> None:
    pixels = ramp(16, 16)
    frame = imagecodecs.jpegxl_encode(pixels, lossless=True, bitspersample=12)
    np.testing.assert_array_equal(decode_frame(image(16, 16), frame, JPEG_XL), pixels)


def test_a_jpeg_packed_into_jpeg_xl_comes_out_as_rgb() -> None:
    smooth = np.stack([ramp(16, 16, 255, "u1") // 2 + 60] * 3, axis=-1)
    jpeg = imagecodecs.jpeg8_encode(smooth, level=95)
    frame = imagecodecs.jpegxl_encode_jpeg(jpeg)
    description = colour_image(16, 16, photometric_interpretation="YBR_FULL_422")
    assert decoded_photometric_interpretation(description, frame, JPEG_XL_JPEG) == "RGB"
    samples = decode_frame(description, frame, JPEG_XL_JPEG)
    assert np.abs(samples.astype(int) - imagecodecs.jpeg8_decode(jpeg)).max() <= 3


def test_jpeg_xl_that_is_an_animation_or_has_an_alpha_channel_is_unsupported() -> None:
    several = imagecodecs.jpegxl_encode(np.zeros((3, 16, 16, 3), np.uint8), lossless=True)
    with pytest.raises(Unsupported, match="animation"):
        decode_frame(colour_image(16, 16), several, JPEG_XL)
    alpha = imagecodecs.jpegxl_encode(np.zeros((16, 16, 4), np.uint8), lossless=True)
    with pytest.raises(Unsupported, match="channels"):
        decode_frame(colour_image(16, 16), alpha, JPEG_XL)


def test_progressive_jpeg_is_decoded() -> None:
    """Process 10 is retired; files in it are not."""
    file = io.BytesIO()
    Image.fromarray(ramp(32, 32, 255, "u1")).save(file, "JPEG", progressive=True, quality=95)
    frame = file.getvalue()
    assert b"\xff\xc2" in frame
    samples = decode_frame(byte_image(32, 32), frame, "1.2.840.10008.1.2.4.55")
    np.testing.assert_array_equal(samples, np.asarray(Image.open(io.BytesIO(frame))))


def test_native_frames_as_items_and_deflated_one_by_one() -> None:
    pixels = ramp(16, 16)
    assert (decode_frame(image(16, 16), pixels.tobytes(), UNCOMPRESSED) == pixels).all()
    deflation = zlib.compressobj(wbits=-15)
    frame = deflation.compress(pixels.tobytes()) + deflation.flush()
    assert (decode_frame(image(16, 16), frame, DEFLATED_FRAME) == pixels).all()
    for damaged in (frame[: len(frame) // 2], b"\xff" * 40, b""):
        with pytest.raises(Corrupt):
            decode_frame(image(16, 16), damaged, DEFLATED_FRAME)


def test_a_deflated_frame_is_not_inflated_beyond_its_size() -> None:
    deflation = zlib.compressobj(wbits=-15)
    bomb = deflation.compress(bytes(200 << 20)) + deflation.flush()
    tracemalloc.start()
    try:
        decode_frame(image(16, 16), bomb, DEFLATED_FRAME)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_one_bit_deflated_frames() -> None:
    deflation = zlib.compressobj(wbits=-15)
    frame = deflation.compress(bytes([0b00110101, 0b11])) + deflation.flush()
    description = image(2, 5, bits_allocated=1, bits_stored=1, high_bit=0)
    samples = decode_frame(description, frame, DEFLATED_FRAME)
    assert samples.tolist() == [[1, 0, 1, 0, 1], [1, 0, 0, 1, 1]]


def test_a_code_stream_of_fewer_bits_than_allocated_fills_the_announced_type() -> None:
    pixels = ramp(16, 16, 255, "u1")
    description = image(16, 16, bits_stored=8, high_bit=7)
    samples = decode_frame(description, CODECS[JPEG_LS](pixels), JPEG_LS)
    assert samples.dtype == np.uint16
    np.testing.assert_array_equal(samples, pixels)


def rgb() -> NDArray[np.uint8]:
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:, :, 0], pixels[:, :, 2] = 200, np.arange(16) * 15
    return pixels


def test_jpeg_that_says_ycbcr_though_the_data_set_says_rgb() -> None:
    frame = imagecodecs.jpeg8_encode(rgb(), level=100)
    assert jpeg_header(frame).jfif
    assert decoded_photometric_interpretation(colour_image(16, 16), frame, JPEG) == "YBR_FULL"


def test_jpeg_of_untransformed_rgb_stays_rgb() -> None:
    frame = imagecodecs.jpeg8_encode(rgb(), level=100, colorspace="RGB", outcolorspace="RGB")
    assert decoded_photometric_interpretation(colour_image(16, 16), frame, JPEG) == "RGB"
    samples = decode_frame(colour_image(16, 16), frame, JPEG)
    assert np.abs(samples.astype(int) - rgb()).max() <= 3


@pytest.mark.parametrize("stored", ["YBR_RCT", "YBR_ICT", "RGB"])
def test_the_component_transform_of_jpeg_2000_is_undone(stored: str) -> None:
    frame = imagecodecs.jpeg2k_encode(rgb(), level=0, reversible=True, codecformat="j2k", mct=True)
    description = colour_image(16, 16, photometric_interpretation=stored)
    np.testing.assert_array_equal(decode_frame(description, frame, J2K), rgb())
    assert decoded_photometric_interpretation(description, frame, J2K) == "RGB"


def test_a_code_stream_inside_a_jp2_file_is_found() -> None:
    pixels = ramp(16, 16)
    frame = imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, codecformat="jp2")
    assert j2k_header(frame).offset > 0
    np.testing.assert_array_equal(decode_frame(image(16, 16), frame, J2K), pixels)


@pytest.mark.parametrize("syntax", CODECS)
@pytest.mark.parametrize(
    "other",
    [
        {"rows": 17},
        {"columns": 15},
        {"samples_per_pixel": 3},
        {"bits_allocated": 8, "bits_stored": 8, "high_bit": 7},
        {"rows": 65535, "columns": 2047},
    ],
)
def test_a_code_stream_that_is_not_what_was_announced_is_refused(
    syntax: str, other: dict[str, int]
) -> None:
    frame = CODECS[syntax](ramp(16, 16))
    with pytest.raises(Corrupt, match="the compressed frame has"):
        decode_frame(replace(image(16, 16), **other), frame, syntax)


def test_a_code_stream_that_announces_a_bomb_is_refused_by_its_size() -> None:
    with pytest.raises(Unsupported, match="larger"):
        decode_frame(image(65535, 65535), b"\xff\xd8", JPEG)


@pytest.mark.parametrize("syntax", CODECS)
@pytest.mark.parametrize("kept", [0, 1, 20, 60, 0.5, 0.9])
def test_a_code_stream_that_is_cut_short_is_corrupt(syntax: str, kept: float) -> None:
    """Never a picture with a part of it made up."""
    frame = CODECS[syntax](ramp(64, 64))
    cut = int(len(frame) * kept) if isinstance(kept, float) else kept
    with pytest.raises(Corrupt):
        decode_frame(image(64, 64), frame[:cut], syntax)


@pytest.mark.parametrize(
    "damage",
    [
        lambda frame: frame[:63],
        lambda frame: struct.pack("<I", 3) + frame[4:],
        lambda frame: frame[:4] + struct.pack("<I", 60) + frame[8:],
        lambda frame: frame[:8] + struct.pack("<I", 64) + frame[12:],
        lambda frame: frame[:8] + struct.pack("<I", 10_000) + frame[12:],
        lambda frame: frame[:-4],
        lambda frame: frame[:64] + bytes([0x80]) * (len(frame) - 64),
    ],
)
def test_a_damaged_rle_frame_is_corrupt(damage) -> None:  # type: ignore[no-untyped-def]
    cells = [bytes([high, low]) for high in range(4) for low in range(6)]
    frame = rle_frame(cells)
    assert decode_frame(image(), frame, RLE).size == 24
    with pytest.raises(Corrupt):
        decode_frame(image(), damage(frame), RLE)


def test_an_rle_segment_cannot_stand_for_more_than_64_times_its_bytes() -> None:
    frame = struct.pack("<16I", 1, 64, *[0] * 14) + bytes([0x81, 7]) * 8
    with pytest.raises(Corrupt, match="too short"):
        decode_frame(byte_image(1000, 1000), frame, RLE)


def test_an_rle_segment_is_not_unpacked_beyond_its_size() -> None:
    frame = struct.pack("<16I", 1, 64, *[0] * 14) + bytes([0x81, 7]) * (1 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(Corrupt):
            decode_frame(byte_image(16, 16), frame, RLE)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "description", [image(), byte_image(), image(bits_allocated=1, bits_stored=1), colour_image()]
)
def test_a_native_frame_that_ends_early_is_corrupt(description: ImageDescription) -> None:
    with pytest.raises(Corrupt, match="ends"):
        decode_frame(description, b"\1\2", LITTLE)


def test_a_transfer_syntax_without_a_decoder_is_unsupported() -> None:
    with pytest.raises(Unsupported, match=MPEG2):
        decode_frame(image(), b"", MPEG2)


@pytest.mark.parametrize("marker", [0xC9, 0xC5])
def test_arithmetic_and_hierarchical_jpeg_are_unsupported(marker: int) -> None:
    frame = imagecodecs.jpeg8_encode(ramp(16, 16, 255, "u1"))
    position = frame.index(b"\xff\xc0")
    with pytest.raises(Unsupported, match="SOF"):
        decode_frame(
            byte_image(16, 16),
            frame[: position + 1] + bytes([marker]) + frame[position + 2 :],
            JPEG,
        )


@settings(max_examples=300, deadline=None)
@given(
    data=st.binary(max_size=200),
    start=st.sampled_from([b"", b"\xff\xd8", b"\xff\x4f\xff\x51", b"\xff\x0a"]),
)
@pytest.mark.parametrize("read", [jpeg_header, j2k_header, jxl_header])
def test_headers_of_noise_are_refused_in_the_rooms_own_words(read, start, data) -> None:  # type: ignore[no-untyped-def]
    with contextlib.suppress(HilumError):
        read(start + data)
