"""Hilum with its defaults and an embedded MongoDB."""

import json
from pathlib import Path

from hilum import __version__
from hilum.config.loading import load
from scripts.bench.drivers import RECEIVER, Called
from scripts.bench.peers import Node
from scripts.node import AE_TITLE
from scripts.node import Node as RunningNode


class HilumNode(Node):
    """``hilum serve``, as `make run` starts it."""

    def __init__(self) -> None:
        self.name = f"Hilum {__version__}"
        self._running: RunningNode | None = None

    def start(self, folder: Path, receiver_port: int) -> None:
        """Start on the empty `folder` and wait for it to answer."""
        peers = {RECEIVER: {"host": "127.0.0.1", "port": receiver_port}}
        settings = {"HILUM_DICOM_PEERS": json.dumps(peers)}
        # As many workers as an operator has who sets nothing.
        workers = load({}).settings.workers
        self._running = RunningNode(folder / "data", settings, workers)
        self._running.start()
        self.called = Called(AE_TITLE, self._running.dicom_port)
        self.http_url = self._running.url("")

    def stop(self) -> None:
        """End it and its children."""
        if self._running is not None:
            self._running.stop()
        self._running = None

    @property
    def pid(self) -> int:
        """The process that was started."""
        assert self._running is not None
        return self._running.pid

    def picture_path(self, study_uid: str, orthanc_id: str, index: int, frame: int) -> str:  # noqa: ARG002
        """Return the path of a picture in its default rendering."""
        return f"/api/dicom/studies/{study_uid}/frames/{index}"
