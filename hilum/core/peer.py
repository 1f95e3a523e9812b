"""DICOM application entities that the node knows by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Peer:
    """Where an AE title listens."""

    ae_title: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.ae_title}@{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Originator:
    """Whose C-MOVE makes a node send (PS3.7 9.1.1.1): the requester and its message."""

    ae_title: str
    message_id: int


#: What Orthanc lets be said of a modality, and what it takes for said.
MODALITY_OPTIONS: Final[Mapping[str, bool]] = MappingProxyType(
    {
        "AllowEcho": True,
        "AllowEventReport": True,
        "AllowFind": True,
        "AllowFindWorklist": True,
        "AllowGet": True,
        "AllowMove": True,
        "AllowNAction": True,
        "AllowStore": True,
        "AllowTranscoding": True,
        "UseDicomTls": False,
    }
)


@dataclass(frozen=True, slots=True)
class Modality:
    """A peer under a symbolic name, as clients of Orthanc's REST API know it."""

    name: str
    peer: Peer
    manufacturer: str = "Generic"
    """Whose habits its queries have to respect, by Orthanc's names."""
    local_ae_title: str = ""
    """As what this node calls it; empty: its own AE title."""
    timeout_seconds: float = 0
    """0: as the settings say."""
    options: Mapping[str, bool] = field(default_factory=lambda: MODALITY_OPTIONS)
    """Kept and told; what a peer may do here is not decided by it."""
