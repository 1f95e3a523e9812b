"""What is known of one instance: who it is, where its bytes and its pixels are.

`imaging` reads a `Header` out of the first bytes of a file, `storage` names the file's
bytes with a `Blob`, `services` puts the two together as an `Instance`, `index` keeps it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Any, Final, TypeAlias

from hilum.core.identifiers import public_id

#: Attributes in the DICOM JSON model (PS3.18 F.2): tag as eight upper-case hex digits
#: to ``{"vr": …, "Value": […]}``. An element with an empty value has no ``Value``.
Attributes: TypeAlias = dict[str, dict[str, Any]]


# Instances arrive a series at a time, and share the public ids of all that contains them. That
# of an instance itself is asked for a few times on its way. (A `cached_property` takes a lock
# that is one for all, and threads that receive would wait for each other.)
_shared_id = lru_cache(256)(public_id)
_instance_id = lru_cache(1024)(public_id)


@dataclass(frozen=True, slots=True)
class Identity:
    """The four identifiers of an instance, without padding, and its public ids."""

    patient_id: str
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    hashed_patient_id: str | None = None
    """The Patient ID that public ids are made of, where that is another: Orthanc takes some
    for part of it that is none, such as leading blanks."""

    @property
    def _hashed(self) -> str:
        return self.patient_id if self.hashed_patient_id is None else self.hashed_patient_id

    @property
    def patient(self) -> str:
        """Public id of the patient."""
        return _shared_id(self._hashed)

    @property
    def study(self) -> str:
        """Public id of the study."""
        return _shared_id(self._hashed, self.study_instance_uid)

    @property
    def series(self) -> str:
        """Public id of the series."""
        return _shared_id(self._hashed, self.study_instance_uid, self.series_instance_uid)

    @property
    def instance(self) -> str:
        """Public id of the instance."""
        return _instance_id(
            self._hashed,
            self.study_instance_uid,
            self.series_instance_uid,
            self.sop_instance_uid,
        )


@dataclass(frozen=True, slots=True)
class PixelData:
    """Where the pixels of a file lie, so that one frame is one positioned read.

    Offsets count from the first byte of the Part 10 file; in the deflated transfer
    syntax from the first byte of the file as it would be with its data set inflated.
    """

    tag: int
    """0x7FE00010, or 0x7FE00008 (float) or 0x7FE00009 (double)."""
    offset: int
    """First byte of the value: of the pixels, or of the first item (the offset table)."""
    length: int
    """Bytes of the value, items and their headers included."""
    frame_count: int
    frame_offsets: bytes = b""
    """Encapsulated only: ``frame_count + 1`` little-endian unsigned 64-bit offsets; frame
    ``i`` is the items from offset ``i`` up to offset ``i + 1``. Empty: native."""


@dataclass(frozen=True, slots=True)
class Header:
    """What the elements in front of the pixel data say."""

    identity: Identity
    sop_class_uid: str
    transfer_syntax_uid: str
    data_set_offset: int
    """First byte behind the file meta information (PS3.10 7.1)."""
    attributes: Attributes
    """The index tags that are present (`hilum.core.levels`), text as Unicode."""
    pixel_data: PixelData | None
    main_tags: Mapping[str, str] = field(default_factory=dict)
    """Orthanc's main DICOM tags that are present, of all levels, as the file has them
    (`hilum.core.main_tags`)."""


@dataclass(frozen=True, slots=True)
class Blob:
    """The bytes of a stored file."""

    digest: str
    """SHA-256 in lower-case hexadecimal: the file's name in the store."""
    size_bytes: int


#: Source of what was copied from another archive: that is no news, and rules of routing are
#: not about it unless they say so.
MIGRATION: Final = "migration"


@dataclass(frozen=True, slots=True)
class Origin:
    """Who sent an instance, and when it arrived (UTC)."""

    source: str
    """A calling AE title, ``http``, ``import``, or ``migration``."""
    received_at: datetime
    remote_address: str = ""
    """IP address of the peer; empty where it is not known."""
    called_ae_title: str = ""
    """What the peer called this node; empty where it did not."""
    by_alias: bool = False
    """Whether that is not this node's own AE title. Only then is it written down with the bytes,
    which costs more than it is worth where all are the same."""


@dataclass(frozen=True, slots=True)
class Instance:
    """One stored instance: the unit that `services` hands to `index`."""

    header: Header
    blob: Blob
    origin: Origin
