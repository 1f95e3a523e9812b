"""A DICOM application entity that the node knows by name."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Peer:
    """Where an AE title listens."""

    ae_title: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.ae_title}@{self.host}:{self.port}"
