"""What is sent: slices, tiles and multi-frame objects, written once, each one different.

Pictures are those of the demonstration. A kind of object is made with pydicom once; the
others are copies of its bytes with other identifiers of the same length.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, cycle, islice
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    ExplicitVRLittleEndian,
    XRayAngiographicImageStorage,
)

from hilum.core.identifiers import public_id
from hilum.demo import chest

FRAMES: Final = 120
#: Sides of 16-bit pictures: 64 KB and 100 KB of pixels.
TINY, TILE = 180, 224

_UID_ROOT: Final = "1.2.826.0.1.3680043.10.543"
# Numbers of studies and instances begin here, so that all are of one length.
_FIRST: Final = 10**8
_NUMBER_PLACEHOLDER: Final = 199_999_999


@dataclass(frozen=True, slots=True)
class Image:
    """The identifiers of one instance."""

    patient_id: str
    study_uid: str
    series_uid: str
    sop_uid: str
    number: int

    @classmethod
    def numbered(cls, study: int, number: int) -> "Image":
        """Return the instance with this number of the only series of a study."""
        uid = f"{_UID_ROOT}.{_FIRST + study}"
        series = f"{uid}.10"
        return cls(f"BENCH-{_FIRST + study}", uid, series, f"{series}.{_FIRST + number}", number)

    @property
    def orthanc_id(self) -> str:
        """The public id Orthanc gives it."""
        return public_id(self.patient_id, self.study_uid, self.series_uid, self.sop_uid)


@dataclass(frozen=True, slots=True)
class Batch:
    """Files to send, one folder an association, one study a folder."""

    folders: tuple[Path, ...]
    images: tuple[Image, ...]
    size_bytes: int

    @property
    def count(self) -> int:
        """How many instances there are."""
        return len(self.images)

    @property
    def series(self) -> list[tuple[str, str]]:
        """The UIDs of study and series, each pair once."""
        return list(dict.fromkeys((image.study_uid, image.series_uid) for image in self.images))


class Kind:
    """One kind of object, ready to be stamped out under other identifiers.

    Parameters
    ----------
    pixels
        Shape ``(rows, columns)`` or ``(frames, rows, columns)``, as stored.
    """

    def __init__(
        self,
        sop_class_uid: str,
        modality: str,
        patient_name: str,
        pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16],
    ) -> None:
        self._template = Image.numbered(0, 0)
        dataset = _dataset(self._template, sop_class_uid, modality, patient_name, pixels)
        buffer = DicomBytesIO()
        dataset.save_as(buffer, enforce_file_format=True)
        content = buffer.getvalue()
        self._head, self._pixels = content[: -pixels.nbytes], content[-pixels.nbytes :]

    def write(self, folder: Path, image: Image) -> int:
        """Write the object as `image` into `folder`; return its size in bytes."""
        head = self._head
        for placeholder, value in (
            # The longest first: the study's UID is the beginning of the others.
            (self._template.sop_uid, image.sop_uid),
            (self._template.series_uid, image.series_uid),
            (self._template.study_uid, image.study_uid),
            (self._template.patient_id, image.patient_id),
            (str(_NUMBER_PLACEHOLDER), f"{image.number:09}"),
        ):
            head = head.replace(placeholder.encode(), value.encode())
        path = folder / f"{image.sop_uid}.dcm"
        path.write_bytes(head + self._pixels)
        return len(head) + len(self._pixels)


def _dataset(
    image: Image,
    sop_class_uid: str,
    modality: str,
    patient_name: str,
    pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16],
) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SOPClassUID = sop_class_uid
    dataset.SOPInstanceUID = image.sop_uid
    dataset.StudyDate = dataset.SeriesDate = dataset.ContentDate = "20260310"
    dataset.StudyTime = dataset.SeriesTime = dataset.ContentTime = "101530"
    dataset.AccessionNumber = image.patient_id
    dataset.Modality = modality
    dataset.Manufacturer = "Hilum"
    dataset.ReferringPhysicianName = "Bergström^Nils"
    dataset.StudyDescription = "CT Thorax/Abdomen m. KM"
    dataset.SeriesDescription = "Thorax/Abdomen 7.5 B31f"
    dataset.PatientName = patient_name
    dataset.PatientID = image.patient_id
    dataset.PatientBirthDate = "19580214"
    dataset.PatientSex = "F"
    dataset.BodyPartExamined = "CHEST"
    dataset.SliceThickness = "7.5"
    dataset.StudyInstanceUID = image.study_uid
    dataset.SeriesInstanceUID = image.series_uid
    dataset.StudyID = "1"
    dataset.SeriesNumber = 2
    dataset.InstanceNumber = _NUMBER_PLACEHOLDER
    dataset.ImagePositionPatient = [-180, -180, 0]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    if pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.PixelSpacing = [0.7, 0.7]
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.itemsize
    if pixels.itemsize == 2:
        dataset.BitsStored = 12
        dataset.RescaleIntercept, dataset.RescaleSlope = -1024, 1
        dataset.WindowCenter, dataset.WindowWidth = 40, 400
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.tobytes()
    return dataset


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is written.

    Parameters
    ----------
    count
        Instances of each measurement of ingest.
    study
        Slices of the study that is queried and retrieved.
    studies
        Studies of one tile each that study-level queries find.
    """

    count: int
    study: int
    studies: int

    @classmethod
    def of(cls, count: int) -> "Sizes":
        """Return the sizes of a run with `count`; only the tiniest query less than others."""
        return cls(count, min(200, 10 * count), min(100, 10 * count))


@dataclass(frozen=True, slots=True)
class Corpus:
    """Everything that is sent in a round.

    Parameters
    ----------
    ingest
        By name of the measurement; no two share an instance.
    slices, tiles, multi_frame
        What queries, retrieval and pictures work on.
    fresh
        A series that is asked about the moment it is stored.
    """

    ingest: dict[str, Batch]
    slices: Batch
    tiles: Batch
    multi_frame: Batch
    fresh: Batch


class Writer:
    """Writes batches below a folder; every study gets a number of its own."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._studies = count(1)

    def batch(self, kind: Kind, instances: int, *, folders: int = 1, studies: int = 1) -> Batch:
        """Write `instances` of `kind`, spread over `folders` of `studies` studies each."""
        paths: list[Path] = []
        images: list[Image] = []
        size_bytes = 0
        for share in _shares(instances, folders):
            folder = self._root / f"{next(self._studies):04}"
            folder.mkdir(parents=True)
            paths.append(folder)
            for study_share in _shares(share, studies):
                study = next(self._studies)
                for number in range(1, study_share + 1):
                    image = Image.numbered(study, number)
                    size_bytes += kind.write(folder, image)
                    images.append(image)
        return Batch(tuple(paths), tuple(images), size_bytes)


def write_corpus(root: Path, sizes: Sizes) -> Corpus:
    """Write everything below `root`."""
    volume = (chest.volume() + 1024).astype(np.uint16)
    middle = volume[len(volume) // 2]
    slice_ = Kind(CTImageStorage, "CT", "Slice^Anna", middle)
    tile = Kind(ComputedRadiographyImageStorage, "CR", "Tile^Anna", _crop(middle, TILE))
    # Of another name: a query is to find these alone.
    many = Kind(ComputedRadiographyImageStorage, "CR", "Many^Anna", _crop(middle, TILE))
    tiny = Kind(ComputedRadiographyImageStorage, "CR", "Tiny^Anna", _crop(middle, TINY))
    multi_frame = Kind(XRayAngiographicImageStorage, "XA", "Run^Anna", _run(volume))
    writer = Writer(root)
    few = max(sizes.count // 100, 1)
    corpus = Corpus(
        ingest={
            "slices, 1 association": writer.batch(slice_, sizes.count),
            "slices, 1 association, Nagle": writer.batch(slice_, sizes.count),
            "slices, 4 associations": writer.batch(slice_, sizes.count, folders=4),
            "slices, 4 associations, Nagle": writer.batch(slice_, sizes.count, folders=4),
            "tiles": writer.batch(tile, sizes.count),
            "tiny": writer.batch(tiny, sizes.count),
            "tiny, 4 associations": writer.batch(tiny, sizes.count, folders=4),
            "multi-frame": writer.batch(multi_frame, few),
        },
        slices=writer.batch(slice_, sizes.study),
        tiles=writer.batch(many, sizes.studies, studies=sizes.studies),
        multi_frame=writer.batch(multi_frame, 1),
        fresh=writer.batch(tile, sizes.study),
    )
    # What the page cache still has to write must not be written while something is measured.
    os.sync()
    return corpus


def _shares(total: int, parts: int) -> Iterator[int]:
    """Yield `parts` numbers as equal as they can be that add up to `total`."""
    for part in range(parts):
        yield total // parts + (part < total % parts)


def _crop(pixels: npt.NDArray[np.uint16], side: int) -> npt.NDArray[np.uint16]:
    first = (len(pixels) - side) // 2
    return pixels[first : first + side, first : first + side]


def _run(volume: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint8]:
    """Return frames of 8 bits that go through the volume again and again."""
    slices = np.clip(volume.astype(np.int32) * 255 // 2048, 0, 255).astype(np.uint8)
    return np.stack(list(islice(cycle(slices), FRAMES)))
