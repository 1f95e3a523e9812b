"""Disks that are small, or take no writes."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


class NotPermitted(Exception):
    """Mounting takes rights that this process does not have."""


def _mount(*arguments: str | Path) -> None:
    done = subprocess.run(
        ["mount", *map(str, arguments)], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise NotPermitted(done.stderr.strip())


@dataclass(frozen=True)
class SmallDisk:
    """A file system in memory."""

    path: Path

    def mount(self, size_bytes: int) -> None:
        """Mount it.

        Raises
        ------
        NotPermitted
            That takes more rights.
        """
        self.path.mkdir(parents=True)
        _mount("-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", self.path)

    def unmount(self) -> None:
        """Let it go, whatever is still open on it."""
        subprocess.run(["umount", "--lazy", self.path], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Have a folder take no writes for the length of a block.

    A read-only view of the folder is mounted over itself. Remounting what is below would be
    refused: the node has files open in it.

    Raises
    ------
    NotPermitted
        That takes more rights.
    """
    _mount("--bind", folder, folder)
    try:
        _mount("-o", "remount,bind,ro", folder)
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
