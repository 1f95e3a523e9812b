"""Instances as the ingest hands them to the index, made without files."""

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from hilum.core.instance import Blob, Header, Identity, Instance, Origin, PixelData

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def blob(content: str) -> Blob:
    return Blob(hashlib.sha256(content.encode()).hexdigest(), len(content))


def instance(
    uid: str,
    *,
    study: str = "1.2.1",
    series: str = "1.2.1.1",
    patient: str = "P1",
    content: str | None = None,
    frames: int = 1,
    minute: int = 0,
    source: str = "MODALITY",
    sop_class: str = CTImageStorage,
    **attributes: Any,
) -> Instance:
    """Return an instance with the attributes given by keyword.

    Its DICOM JSON is pydicom's.
    """
    dataset = Dataset()
    dataset.PatientID = patient
    dataset.StudyInstanceUID = study
    dataset.SeriesInstanceUID = series
    dataset.SOPInstanceUID = uid
    dataset.SOPClassUID = sop_class
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return Instance(
        header=Header(
            identity=Identity(patient, study, series, uid),
            sop_class_uid=sop_class,
            transfer_syntax_uid=ExplicitVRLittleEndian,
            data_set_offset=400,
            attributes=dataset.to_json_dict(),
            pixel_data=PixelData(0x7FE00010, 2000, 512 * frames, frames) if frames else None,
        ),
        blob=blob(content or uid),
        origin=Origin(source, BEGIN + timedelta(minutes=minute)),
    )
