"""What the spool hands on: a file that was committed, and by whom it was sent."""

from dataclasses import dataclass
from pathlib import Path

from hilum.core.instance import Blob, Origin
from hilum.storage.disk import as_domain_error
from hilum.storage.names import SlotName, SpoolName


@dataclass(frozen=True, slots=True)
class SpoolEntry:
    """A committed file of the spool."""

    path: Path
    blob: Blob
    origin: Origin

    @property
    def name(self) -> str:
        """What the file is called where its name has to tell when it came, and from whom."""
        slot = SlotName.parse(self.path.name)
        if slot is None:
            return self.path.name
        return str(SpoolName(self.origin, slot.run, slot.number))

    def remove(self) -> None:
        """Take the file out of the spool: it is stored and indexed. Idempotent.

        The removal is not synced. An entry that a loss of power brings back is replayed
        once more, which changes nothing.

        Raises
        ------
        StorageUnavailable
            It cannot be removed.
        """
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise as_domain_error(error, "remove a file from the spool") from error
