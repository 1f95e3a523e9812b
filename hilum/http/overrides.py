"""Another patient for an uploaded instance: a new instance made from the stored one.

A back end that knows better than the file whose image it is says so beside the upload.
What was uploaded stays as it is; the answer names a copy under identifiers of its own.
This corrects identifiers, it does not de-identify.
"""

import dataclasses
import io
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

import pydicom
from pydicom.uid import DeflatedExplicitVRLittleEndian

from hilum.core.errors import IndexUnavailable, Invalid, Unsupported
from hilum.core.levels import Level
from hilum.core.query import Condition, Exact, Query
from hilum.http.reception import origin
from hilum.imaging.careful_scan import PYDICOM_ERRORS
from hilum.imaging.charset import quietly
from hilum.index.stored import StoredInstance
from hilum.services.decision import Outcome
from hilum.services.ingest import Ingest, Receipt
from hilum.services.retrieve import Retrieve

_PIECE_BYTES: Final = 1 << 20
#: PS3.5 6.2: LO, and one component group of PN.
_LONGEST: Final = 64
_UTF_8: Final = "ISO_IR 192"


@dataclass(frozen=True, slots=True)
class Patient:
    """Who the patient is instead; None leaves what the file says.

    Raises
    ------
    Invalid
        At creation: a value does not fit its VR.
    """

    patient_id: str | None
    patient_name: str | None

    def __post_init__(self) -> None:
        _check("patientID", self.patient_id, _LONGEST)
        _check("patientName", self.patient_name, 3 * _LONGEST)

    def __bool__(self) -> bool:
        return self.patient_id is not None or self.patient_name is not None

    def derived_uid(self, uid: str) -> str:
        """Return the UID that takes the place of `uid` (PS3.5 B.2).

        The same for the same patient, so that files of a study stay together even when
        they are uploaded one by one, and a second upload adds nothing.
        """
        name = "\\".join((uid, self.patient_id or "", self.patient_name or ""))
        return f"2.25.{uuid.uuid5(uuid.NAMESPACE_OID, name).int}"


def _check(what: str, value: str | None, longest: int) -> None:
    if value is not None and (len(value) > longest or "\\" in value or not value.isprintable()):
        raise Invalid(f"{what} must have at most {longest} characters and no backslash")


def with_patient(source: BinaryIO, patient: Patient) -> Iterator[bytes]:
    """Yield the Part 10 file `source` anew, with another patient and new UIDs.

    Everything from the pixel data on is passed through byte for byte. Other elements keep
    their bytes too, unless the name needs a character set that the file does not use.

    Raises
    ------
    Unsupported
        The file cannot be taken apart: it is deflated, or pydicom cannot write it.
    """
    try:
        with quietly():
            data_set = pydicom.dcmread(source, stop_before_pixels=True, force=True)
            rest = source.tell()
            if data_set.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:
                raise Unsupported("overrides of a deflated file are not supported")
            _override(data_set, patient)
            head = io.BytesIO()
            pydicom.dcmwrite(head, data_set, enforce_file_format=True)
    except PYDICOM_ERRORS as error:
        if isinstance(error, OSError) and error.errno:
            raise  # of the disk, not of what lies on it
        raise Unsupported("the file cannot be written with another patient") from error
    yield head.getvalue()
    source.seek(rest)
    while piece := source.read(_PIECE_BYTES):
        yield piece


def _override(data_set: pydicom.FileDataset, patient: Patient) -> None:
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(data_set, keyword, patient.derived_uid(str(data_set[keyword].value)))
    data_set.file_meta.MediaStorageSOPInstanceUID = data_set.SOPInstanceUID
    if not (f"{patient.patient_id}{patient.patient_name}").isascii():
        data_set.decode()
        data_set.SpecificCharacterSet = _UTF_8
    if patient.patient_id is not None:
        data_set.PatientID = patient.patient_id
    if patient.patient_name is not None:
        data_set.PatientName = patient.patient_name


class Overrides:
    """Makes instances of another patient out of uploaded ones."""

    def __init__(self, ingest: Ingest, retrieve: Retrieve) -> None:
        self._ingest = ingest
        self._retrieve = retrieve

    async def find(self, receipt: Receipt) -> StoredInstance:
        """Return where the bytes are that `receipt` was given for.

        Raises
        ------
        IndexUnavailable
            They are safe, but cannot be found yet.
        """
        identity = receipt.header.identity
        if not receipt.outcome.done():
            raise IndexUnavailable(f"{identity.sop_instance_uid} is stored, but not indexed yet")
        query = Query(
            level=Level.IMAGE,
            conditions=(
                Condition("StudyInstanceUID", Exact(identity.study_instance_uid)),
                Condition("SeriesInstanceUID", Exact(identity.series_instance_uid)),
                Condition("SOPInstanceUID", Exact(identity.sop_instance_uid)),
            ),
        )
        found = await self._retrieve.select(query)
        stored = next((instance for instance in found if instance.identity == identity), None)
        if stored is None:
            raise IndexUnavailable(f"{identity.sop_instance_uid} cannot be found")
        if receipt.outcome.result() is Outcome.ALREADY_STORED:
            return stored  # the same data set, perhaps in a file of other meta information
        return dataclasses.replace(stored, blob=receipt.blob)

    def make(self, instance: StoredInstance, patient: Patient) -> Receipt:
        """Store `instance` once more, as one of `patient`. For a thread.

        Raises
        ------
        HilumError
            As `with_patient` and `hilum.services.ingest.Ingest.accept` do.
        """
        with self._retrieve.open(instance) as source, self._ingest.begin(origin()) as writer:
            for piece in with_patient(source, patient):
                writer.write(piece)
            return self._ingest.accept(writer)
