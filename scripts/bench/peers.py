"""What every competitor can do: start on a folder, take instances in, stop."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from scripts.bench import drivers
from scripts.bench.drivers import Called, Ran


class Peer(ABC):
    """Somebody who takes instances in."""

    #: What it is called in the report, with its version.
    name: str
    #: When it had stored what is queried and retrieved, on the monotonic clock.
    prepared_at: float

    @abstractmethod
    def start(self, folder: Path, receiver_port: int) -> None:
        """Start on the empty `folder`, knowing the receiver; return when it answers."""

    @abstractmethod
    def stop(self) -> None:
        """End it and all its children; of no effect if it does not run."""

    @property
    @abstractmethod
    def pid(self) -> int:
        """The process whose tree is what it costs."""

    @abstractmethod
    def send(self, folders: Sequence[Path], *, nagle: bool = False) -> Ran:
        """Send each folder on a connection of its own, all at once.

        Parameters
        ----------
        nagle
            Let the sender wait with small packets until larger ones are acknowledged.
        """


class Node(Peer):
    """A DICOM node with pictures over HTTP."""

    called: Called
    http_url: str

    @property
    def speaks_dicom_web(self) -> bool:
        """Whether DICOMweb is to be had of it."""
        return True

    def send(self, folders: Sequence[Path], *, nagle: bool = False) -> Ran:
        """Send each folder on a connection of its own, all at once."""
        return drivers.send(self.called, folders, nagle=nagle)

    @abstractmethod
    def picture_path(self, study_uid: str, orthanc_id: str, index: int, frame: int) -> str:
        """Return the path of a picture in its default rendering.

        Parameters
        ----------
        study_uid, index
            The study and the place of the frame in it, from 0.
        orthanc_id, frame
            The instance and the place of the frame in it, from 0.
        """
