"""Orthanc with its defaults, synced storage and its DICOMweb plugin."""

import json
import os
import shlex
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Final

from scripts.bench.drivers import NO_DELAY, RECEIVER, Called
from scripts.bench.peers import Node
from tests.nodes import free_port, wait_until

#: A command line that starts another Orthanc, given the path of a configuration file.
COMMAND_VARIABLE: Final = "ORTHANC_CMD"
#: The DICOMweb plugin of that Orthanc: the path of its library.
PLUGIN_VARIABLE: Final = "ORTHANC_DICOMWEB"
_INSTALLED: Final = "/usr/sbin/Orthanc"
_INSTALLED_PLUGIN: Final = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"


def orthanc_command() -> list[str] | None:
    """Return how to start Orthanc, or None if there is none."""
    named = shlex.split(os.environ.get(COMMAND_VARIABLE, ""))
    if named:
        return named
    return [_INSTALLED] if shutil.which(_INSTALLED) else None


def orthanc_plugin() -> str | None:
    """Return the path of its DICOMweb plugin, or None if there is none."""
    named = os.environ.get(PLUGIN_VARIABLE)
    if named:
        return named
    # Another Orthanc's plugin is no good to one that was named.
    if os.environ.get(COMMAND_VARIABLE) or not Path(_INSTALLED_PLUGIN).exists():
        return None
    return _INSTALLED_PLUGIN


class OrthancNode(Node):
    """An Orthanc process."""

    def __init__(self, command: list[str]) -> None:
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        said = subprocess.check_output([*command, "--version"], text=True)
        self.name = f"Orthanc {said.split(maxsplit=2)[1]}"

    def start(self, folder: Path, receiver_port: int) -> None:
        """Start on the empty `folder` and wait for it to answer."""
        self.called = Called("ORTHANC", free_port())
        http_port = free_port()
        self.http_url = f"http://127.0.0.1:{http_port}"
        settings = configuration(
            folder / "data", self.called, http_port, receiver_port, orthanc_plugin()
        )
        path = folder / "orthanc.json"
        path.write_text(json.dumps(settings))
        with (folder / "orthanc.log").open("wb") as log:
            self._process = subprocess.Popen(
                [*self._command, path], env=NO_DELAY, stdout=log, stderr=log
            )
        wait_until(self._answers, what="Orthanc answers")

    def _answers(self) -> bool:
        assert self._process is not None
        if (status := self._process.poll()) is not None:
            raise subprocess.CalledProcessError(status, self._command)
        try:
            urllib.request.urlopen(f"{self.http_url}/system", timeout=2).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """End it and its children."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(60)
            finally:
                self._process.kill()
        self._process = None

    @property
    def speaks_dicom_web(self) -> bool:
        """Whether it was started with its plugin."""
        return orthanc_plugin() is not None

    @property
    def pid(self) -> int:
        """The process that was started."""
        assert self._process is not None
        return self._process.pid

    def picture_path(self, study_uid: str, orthanc_id: str, index: int, frame: int) -> str:  # noqa: ARG002
        """Return the path of a picture in its default rendering."""
        return f"/instances/{orthanc_id}/frames/{frame}/preview"


def configuration(
    data: Path, called: Called, http_port: int, receiver_port: int, plugin: str | None
) -> dict[str, object]:
    """Return the settings; what is not named keeps its default. `docs/performance.md` has them."""
    return {
        "StorageDirectory": str(data),
        "IndexDirectory": str(data),
        "SyncStorageArea": True,
        "StableAge": 1,
        "Plugins": [plugin] if plugin else [],
        "DicomAet": called.aet,
        "DicomPort": called.port,
        "HttpPort": http_port,
        "KeepAlive": True,
        "AuthenticationEnabled": False,
        # Else it answers only callers it knows.
        "DicomAlwaysAllowFind": True,
        "DicomAlwaysAllowGet": True,
        "DicomAlwaysAllowMove": True,
        "DicomModalities": {"receiver": [RECEIVER, "127.0.0.1", receiver_port]},
    }
