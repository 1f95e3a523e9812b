"""One tree of errors, divided by what the caller can do about them.

Each edge translates this tree once, ``scp`` into DIMSE statuses and ``http`` into HTTP
statuses. A message names UIDs, digests and settings, never a patient's attributes: it
is logged and shown as it stands.
"""

from typing import ClassVar


class HilumError(Exception):
    """Base of every error a caller of Hilum's own functions must expect."""

    code: ClassVar[str] = "error"
    sop_class_uid: str = ""
    sop_instance_uid: str = ""
    """Of the instance that was refused, where it is known and its sender wants it named."""


class NotFound(HilumError):
    """What was asked for is not here; asking again does not help."""

    code = "not-found"


class NoPixelData(NotFound):
    """The instance exists but has nothing to render."""

    code = "no-pixel-data"


class UnknownPeer(NotFound):
    """An AE title that is not among the configured peers."""

    code = "unknown-peer"


class Invalid(HilumError):
    """The caller's input is wrong; the same input will fail again."""

    code = "invalid"


class NotDicom(Invalid):
    """Bytes that cannot be understood as a DICOM data set."""

    code = "not-dicom"


class IdentityMismatch(Invalid):
    """The data set is readable but is not what its command said (PS3.4 B.2.3, A900)."""

    code = "identity-mismatch"


class Unsupported(Invalid):
    """Well formed, but of a kind this node does not handle (e.g. a codec)."""

    code = "unsupported"


class Undecodable(Unsupported):
    """Pixel data that arrived in a state no decoder can make a picture of."""

    code = "undecodable"


class Conflict(HilumError):
    """The input contradicts what is already stored, and policy says to keep that."""

    code = "conflict"


class Temporary(HilumError):
    """Nothing is wrong with the input; the same request may succeed later."""

    code = "temporary"
    retry_after_seconds: float | None = None
    """When to ask again, where who refused has said so."""


class StorageFull(Temporary):
    """Accepting more would eat into the disk reserve."""

    code = "storage-full"


class StorageUnavailable(Temporary):
    """The store cannot be written or read at the moment (e.g. mounted read-only)."""

    code = "storage-unavailable"


class IndexUnavailable(Temporary):
    """MongoDB does not answer."""

    code = "index-unavailable"


class PeerUnreachable(Temporary):
    """A DICOM peer refused, rejected or dropped the association."""

    code = "peer-unreachable"


class PeerRefused(HilumError):
    """A DICOM peer is there, and answered that it cannot or will not do what was asked."""

    code = "peer-refused"

    def __init__(self, message: str, status: int = 0x0110) -> None:
        super().__init__(message)
        self.status = status
        """Of the final response (PS3.7 Annex C)."""


class Corrupt(HilumError):
    """Stored bytes are damaged or cannot be decoded."""

    code = "corrupt"
