"""The studies of the demonstration as DICOM objects: a CT, an MR, a CR and an XA.

Every UID follows from its place in the study, so that whoever sends the studies twice
sends the same instances twice.
"""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ComputedRadiographyImageStorage,
    CTImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    XRayAngiographicImageStorage,
)

from hilum.demo import angiogram, brain, chest, radiograph
from hilum.demo.people import CYRILLIC, JAPANESE, LATIN, VIETNAMESE, Person

_NAMESPACE: Final = uuid.UUID("7f7a52c6-6d0b-4f5e-9d5e-2f6d1c0b8a42")

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16] | npt.NDArray[np.int16]

#: How many instances `studies` yields.
INSTANCE_COUNT: Final = chest.SLICES + 2 * brain.SLICES + 2 + 1


def studies() -> Iterator[Dataset]:
    """Yield every instance of the four studies, ready to be written or sent."""
    yield from _ct()
    yield from _mr()
    yield from _cr()
    yield from _xa()


def write_studies(folder: Path) -> Iterator[Path]:
    """Write every instance into `folder` as a Part 10 file, and yield the paths."""
    for dataset in studies():
        path = folder / f"{dataset.Modality}-{dataset.SeriesNumber}-{dataset.InstanceNumber:03}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        yield path


def _uid(*place: object) -> str:
    """Return the UID of a place in the studies (PS3.5 B.2: from a UUID)."""
    return f"2.25.{uuid.uuid5(_NAMESPACE, '/'.join(map(str, place))).int}"


def _ct() -> Iterator[Dataset]:
    voxels = chest.volume()
    for index, pixels in enumerate(voxels):
        dataset = _instance(
            LATIN, CTImageStorage, "CT", series=2, number=index + 1, date="20260310", time="101530"
        )
        _study(dataset, "CT Thorax/Abdomen m. KM", "A2026-00417", "Bergström^Nils")
        dataset.SeriesDescription = "Thorax/Abdomen 7.5 B31f"
        dataset.BodyPartExamined = "CHEST"
        dataset.PatientPosition = "HFS"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        dataset.KVP = 120
        dataset.XRayTubeCurrent = 210
        dataset.ConvolutionKernel = "B31f"
        dataset.ContrastBolusAgent = "Iohexol 350"
        dataset.AcquisitionNumber = 1
        height = -chest.SPACING_MM * index
        _place(dataset, chest.PIXEL_MM, chest.SIZE, chest.SPACING_MM, height)
        # Stored with the offset scanners use: the smallest value of the range is 0.
        _pixels(dataset, (pixels + 1024).astype(np.uint16), 12)
        dataset.RescaleIntercept = -1024
        dataset.RescaleSlope = 1
        dataset.RescaleType = "HU"
        dataset.WindowCenter = [40, -600]
        dataset.WindowWidth = [400, 1500]
        dataset.WindowCenterWidthExplanation = ["SOFT TISSUE", "LUNG"]
        yield dataset


def _mr() -> Iterator[Dataset]:
    timing: dict[brain.Weighting, tuple[str, int, int, int]] = {
        "T1": ("t1_se_tra", 520, 12, 1),
        "T2": ("t2_tse_tra", 4200, 98, 9),
    }
    for number, (weighting, (name, repetition, echo, train)) in enumerate(timing.items(), 1):
        for index, pixels in enumerate(brain.volume(weighting)):
            dataset = _instance(
                CYRILLIC,
                MRImageStorage,
                "MR",
                series=number,
                number=index + 1,
                date="20260312",
                time="084210",
            )
            _study(dataset, "МРТ головного мозга", "A2026-00431", "Петров^Илья")
            dataset.SeriesDescription = name
            dataset.ProtocolName = name
            dataset.BodyPartExamined = "HEAD"
            dataset.PatientPosition = "HFS"
            dataset.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
            dataset.ScanningSequence = "SE"
            dataset.SequenceVariant = "SK" if train > 1 else "NONE"
            dataset.ScanOptions = ""
            dataset.MRAcquisitionType = "2D"
            dataset.RepetitionTime = repetition
            dataset.EchoTime = echo
            dataset.EchoTrainLength = train
            dataset.MagneticFieldStrength = 1.5
            dataset.AcquisitionNumber = 1
            height = brain.SPACING_MM * index
            _place(dataset, brain.PIXEL_MM, brain.SIZE, brain.SPACING_MM, height)
            _pixels(dataset, pixels, 12)
            dataset.WindowCenter = 480 if weighting == "T1" else 560
            dataset.WindowWidth = 920 if weighting == "T1" else 1080
            yield dataset


def _cr() -> Iterator[Dataset]:
    views: tuple[tuple[radiograph.View, str, list[str]], ...] = (
        ("PA", "胸部 正面", ["L", "F"]),
        ("LL", "胸部 側面", ["P", "F"]),
    )
    for number, (projection, description, orientation) in enumerate(views, 1):
        dataset = _instance(
            JAPANESE,
            ComputedRadiographyImageStorage,
            "CR",
            series=number,
            number=1,
            date="20260315",
            time="143005",
        )
        _study(dataset, "胸部X線 2方向", "A2026-00458", "Suzuki^Hanako=鈴木^花子")
        dataset.SeriesDescription = description
        dataset.BodyPartExamined = "CHEST"
        dataset.ViewPosition = projection
        dataset.PatientOrientation = orientation
        dataset.ImageType = ["ORIGINAL", "PRIMARY"]
        dataset.KVP = 125
        dataset.Exposure = 2
        dataset.ImagerPixelSpacing = [radiograph.PIXEL_MM, radiograph.PIXEL_MM]
        _pixels(dataset, radiograph.view(projection), 12)
        dataset.WindowCenter = 1900
        dataset.WindowWidth = 3100
        yield dataset


def _xa() -> Iterator[Dataset]:
    run = angiogram.frames()
    dataset = _instance(
        VIETNAMESE,
        XRayAngiographicImageStorage,
        "XA",
        series=1,
        number=1,
        date="20260318",
        time="110148",
    )
    _study(dataset, "Chụp động mạch vành", "A2026-00472", "Trần^Thị^Lan")
    dataset.SeriesDescription = "LCA RAO 30 CAUD 20"
    dataset.BodyPartExamined = "HEART"
    dataset.PatientOrientation = ["L", "F"]
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "SINGLE PLANE"]
    dataset.KVP = 78
    dataset.XRayTubeCurrent = 540
    dataset.ExposureTime = 7
    dataset.RadiationSetting = "GR"
    dataset.PositionerMotion = "STATIC"
    dataset.PositionerPrimaryAngle = -30
    dataset.PositionerSecondaryAngle = -20
    dataset.ImagerPixelSpacing = [0.37, 0.37]
    dataset.PixelIntensityRelationship = "LIN"
    dataset.AcquisitionNumber = 1
    dataset.NumberOfFrames = angiogram.FRAMES
    dataset.FrameIncrementPointer = 0x00181063
    dataset.FrameTime = round(1000 / angiogram.FRAMES_PER_SECOND, 3)
    dataset.CineRate = angiogram.FRAMES_PER_SECOND
    dataset.RecommendedDisplayFrameRate = angiogram.FRAMES_PER_SECOND
    _pixels(dataset, run, 8)
    dataset.WindowCenter = 128
    dataset.WindowWidth = 256
    yield dataset


def _instance(
    person: Person,
    sop_class_uid: str,
    modality: str,
    *,
    series: int,
    number: int,
    date: str,
    time: str,
) -> Dataset:
    """Return what every instance has: patient, general study, series and equipment."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = list(person.character_set)
    dataset.SOPClassUID = sop_class_uid
    dataset.SOPInstanceUID = _uid(modality, series, number)
    dataset.StudyInstanceUID = _uid(modality)
    dataset.SeriesInstanceUID = _uid(modality, series)
    dataset.PatientName = person.name
    dataset.PatientID = person.patient_id
    dataset.PatientBirthDate = person.birth_date
    dataset.PatientSex = person.sex
    # Dates are eight digits: their difference is whole years and a rest.
    dataset.PatientAge = f"{(int(date) - int(person.birth_date)) // 10000:03}Y"
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = date
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = time
    dataset.Modality = modality
    dataset.SeriesNumber = series
    dataset.InstanceNumber = number
    dataset.Manufacturer = "Hilum"
    dataset.ManufacturerModelName = "Synthetic studies"
    dataset.StationName = f"DEMO_{modality}"
    dataset.InstitutionName = "Hilum Demonstration"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def _study(dataset: Dataset, description: str, accession: str, referring: str) -> None:
    dataset.StudyDescription = description
    dataset.StudyID = accession.rpartition("-")[2]
    dataset.AccessionNumber = accession
    dataset.ReferringPhysicianName = referring


def _place(dataset: Dataset, pixel_mm: float, size: int, spacing_mm: float, z_mm: float) -> None:
    """Lay an axial slice into the patient's space (PS3.3 C.7.6.2)."""
    corner = -(size - 1) / 2 * pixel_mm
    dataset.FrameOfReferenceUID = _uid(dataset.Modality, "frame of reference")
    dataset.PositionReferenceIndicator = ""
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [round(corner, 3), round(corner, 3), z_mm]
    dataset.PixelSpacing = [pixel_mm, pixel_mm]
    dataset.SliceThickness = spacing_mm
    dataset.SpacingBetweenSlices = spacing_mm
    dataset.SliceLocation = z_mm


def _pixels(dataset: Dataset, pixels: Pixels, bits_stored: int) -> None:
    """Add grey pixels, ``([frames,] rows, columns)``, unsigned (PS3.3 C.7.6.3)."""
    bits_allocated = pixels.dtype.itemsize * 8
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.BitsAllocated = bits_allocated
    dataset.BitsStored = bits_stored
    dataset.HighBit = bits_stored - 1
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    dataset["PixelData"].VR = "OW" if bits_allocated == 16 else "OB"
