"""A frame of a file as a picture: the one way there, in the node or in a helper process."""

from functools import lru_cache
from pathlib import Path
from typing import Final

from hilum.core.errors import NotFound
from hilum.core.instance import PixelData
from hilum.imaging.decode import NATIVE, Samples, decode_frame, decoded_photometric_interpretation
from hilum.imaging.description import ImageDescription, describe
from hilum.imaging.extraction import extract
from hilum.imaging.formats import encode
from hilum.imaging.frames import head_of, read_frame
from hilum.imaging.overlays import Overlay, read_overlays
from hilum.imaging.reader import open_reader
from hilum.imaging.render import render
from hilum.imaging.rendering import Rendering
from hilum.imaging.values import encode_values

#: Descriptions kept: whoever scrolls through a series comes back to its files.
_DESCRIPTIONS: Final = 256
_OVERLAYS: Final = 4


def is_native(transfer_syntax_uid: str) -> bool:
    """Return whether frames are stored as they are, so that no codec will touch them."""
    return transfer_syntax_uid in NATIVE


def draw(
    path: Path,
    pixel_data: PixelData,
    transfer_syntax_uid: str,
    data_set_offset: int,
    frame_index: int,
    rendering: Rendering,
) -> bytes:
    """Return one frame of a file as a picture, 8 bits a channel, grey or RGB.

    Parameters
    ----------
    path
        A Part 10 file that never changes, as those of the store.
    pixel_data, transfer_syntax_uid, data_set_offset
        From the file's `Header`.
    frame_index
        From 0.

    Raises
    ------
    NotFound
        There is no such file or no such frame.
    Invalid, Unsupported
        The header does not describe an image, or one this node does not draw; or the
        rendering cannot be had of it.
    Corrupt
        The frame is damaged.

    Notes
    -----
    Reads the header, once, and the frame; nothing else of the file. Compressed frames
    may crash the process: see `decode_frame`.
    """
    description, pixels, photometric = decoded(
        path, pixel_data, transfer_syntax_uid, data_set_offset, frame_index
    )
    if rendering.values is not None:
        return encode_values(description, pixels, frame_index, photometric)
    if rendering.extraction is not None:
        extracted = extract(description, pixels, frame_index, rendering.extraction, photometric)
        return encode(extracted, rendering.format, rendering.quality)
    overlays: tuple[Overlay, ...] = ()
    if rendering.overlays:
        overlays = _overlays(path, pixel_data, transfer_syntax_uid, data_set_offset)
    picture = render(description, pixels, frame_index, rendering, photometric, overlays)
    return encode(picture, rendering.format, rendering.quality)


def decoded(
    path: Path,
    pixel_data: PixelData,
    transfer_syntax_uid: str,
    data_set_offset: int,
    frame_index: int,
) -> tuple[ImageDescription, Samples, str]:
    """Return one frame of a file: what its header says, its samples, and what they mean.

    Parameters and errors are those of `draw`; the samples are `decode_frame`'s, the
    Photometric Interpretation is `decoded_photometric_interpretation`'s.
    """
    try:
        description = _described(path, pixel_data, transfer_syntax_uid, data_set_offset)
        with path.open("rb") as file:
            reader = open_reader(file, transfer_syntax_uid, data_set_offset)
            frame = read_frame(reader, pixel_data, frame_index, description.frame_bits)
    except FileNotFoundError as error:
        raise NotFound(f"there is no file {path.name}") from error
    pixels = decode_frame(description, frame, transfer_syntax_uid)
    photometric = decoded_photometric_interpretation(description, frame, transfer_syntax_uid)
    return description, pixels, photometric


@lru_cache(maxsize=_DESCRIPTIONS)
def _described(
    path: Path, pixel_data: PixelData, transfer_syntax_uid: str, data_set_offset: int
) -> ImageDescription:
    """Return the description of a file; its path is its content's, so it never goes stale."""
    return describe(
        head_of(path, pixel_data, transfer_syntax_uid, data_set_offset), transfer_syntax_uid
    )


@lru_cache(maxsize=_OVERLAYS)
def _overlays(
    path: Path, pixel_data: PixelData, transfer_syntax_uid: str, data_set_offset: int
) -> tuple[Overlay, ...]:
    """Return the overlays of a file; apart from its description, for they are large."""
    head = head_of(path, pixel_data, transfer_syntax_uid, data_set_offset)
    return read_overlays(head, transfer_syntax_uid)
