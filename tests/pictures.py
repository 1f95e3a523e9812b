"""Ways from a file to its frames and pictures, for the tests of the imaging room."""

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.uid import generate_uid

from hilum.core.errors import Invalid, NotDicom
from hilum.core.instance import Header, PixelData
from hilum.imaging.decode import decode_frame
from hilum.imaging.description import ImageDescription, describe
from hilum.imaging.frames import read_frame
from hilum.imaging.header import read_header
from hilum.imaging.picture import draw
from hilum.imaging.reader import open_reader
from hilum.imaging.render import Rendering

UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")


@dataclass(frozen=True)
class Source:
    """A file with pixels, as the node knows it."""

    path: Path
    header: Header
    pixel_data: PixelData

    @property
    def transfer_syntax_uid(self) -> str:
        return self.header.transfer_syntax_uid

    @property
    def arguments(self) -> tuple[Path, PixelData, str, int]:
        """The first arguments of `draw`."""
        return self.path, self.pixel_data, self.transfer_syntax_uid, self.header.data_set_offset

    def description(self) -> ImageDescription:
        begin, end = self.header.data_set_offset, self.pixel_data.offset
        with self.path.open("rb") as file:
            head = open_reader(file, self.transfer_syntax_uid, begin).read_at(begin, end - begin)
        return describe(head, self.transfer_syntax_uid)

    def frames(self) -> Iterator[bytes]:
        bits = self.description().frame_bits
        with self.path.open("rb") as file:
            reader = open_reader(file, self.transfer_syntax_uid, self.header.data_set_offset)
            for index in range(self.pixel_data.frame_count):
                yield read_frame(reader, self.pixel_data, index, bits)

    def decoded(self) -> NDArray[Any]:
        """Every frame, as pydicom shapes them: without a frame axis if there is one frame."""
        description, syntax = self.description(), self.transfer_syntax_uid
        frames = [decode_frame(description, frame, syntax) for frame in self.frames()]
        return frames[0] if len(frames) == 1 else np.stack(frames)

    def picture(self, frame_index: int = 0, rendering: Rendering | None = None) -> NDArray[Any]:
        """A frame through `draw`, read back by another program's PNG decoder."""
        png = draw(*self.arguments, frame_index, rendering or Rendering())
        return np.asarray(Image.open(io.BytesIO(png)))


def source(path: Path, folder: Path) -> Source | None:
    """Return a file as the node knows it; None if it has no pixels or no node would take it.

    Test files without identifiers, which a node refuses, get some in a copy in `folder`.
    """
    try:
        return _source(path)
    except NotDicom:
        return None
    except Invalid:
        copy = folder / path.name
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            data_set = pydicom.dcmread(path, force=True)
            if "PixelData" not in data_set:
                return None
            for keyword in UIDS:
                setattr(data_set, keyword, data_set.get(keyword) or generate_uid())
            data_set.save_as(copy, enforce_file_format=True)
        return _source(copy)


def _source(path: Path) -> Source | None:
    with path.open("rb") as file:
        header = read_header(file)
    return Source(path, header, header.pixel_data) if header.pixel_data else None
