"""Real Orthanc servers for tests: Debian's, as its own process, on free ports."""

import contextlib
import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.nodes import free_port, wait_until

ORTHANC = "/usr/sbin/Orthanc"
#: Debian's package orthanc-dicomweb.
DICOMWEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@dataclass
class RunningOrthanc:
    """An Orthanc in a process of its own; `settings` are those of its configuration file."""

    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)
    aet: str = "ORTHANC"
    dicom_port: int = field(default_factory=free_port)
    http_port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def http_url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def storage(self) -> Path:
        """Where it keeps its files."""
        return self.folder / "storage"

    def start(self) -> "RunningOrthanc":
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "orthanc.json"
        path.write_text(
            json.dumps(
                {
                    "Name": "ORTHANC",
                    "StorageDirectory": str(self.storage),
                    "IndexDirectory": str(self.storage),
                    "DicomAet": self.aet,
                    "DicomPort": self.dicom_port,
                    "HttpPort": self.http_port,
                    "RemoteAccessAllowed": True,
                    "AuthenticationEnabled": False,
                    "StableAge": 1,
                    "DicomAlwaysAllowFind": True,
                    "DicomAlwaysAllowGet": True,
                    "DicomAlwaysAllowMove": True,
                    **self.settings,
                }
            )
        )
        with (self.folder / "orthanc.log").open("ab") as log:
            self.process = subprocess.Popen([ORTHANC, path], stdout=log, stderr=log)
        wait_until(self._answers, 60, "Orthanc answers")
        return self

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError((self.folder / "orthanc.log").read_text())
        try:
            urllib.request.urlopen(f"{self.http_url}/system", timeout=2).close()
        except urllib.error.HTTPError:
            return True  # up, and asking who calls
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """End it; it would take some four seconds to end by itself. What it answered is kept."""
        assert self.process is not None
        self.process.kill()
        self.process.wait(60)


@contextlib.contextmanager
def running_orthanc(folder: Path, **settings: Any) -> Iterator[RunningOrthanc]:
    """Run an Orthanc for the length of a block."""
    orthanc = RunningOrthanc(folder, settings).start()
    try:
        yield orthanc
    finally:
        orthanc.kill()
