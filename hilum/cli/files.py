"""Finding the files that a command was given: files as named, folders all the way down."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from hilum.moving.local_files import is_part10


def find_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the regular files that `paths` name or contain, in the order of their names."""
    for path in paths:
        if path.is_dir():
            for folder, inner, names in os.walk(path):
                inner.sort()
                yield from (
                    file
                    for file in (Path(folder, name) for name in sorted(names))
                    if file.is_file()
                )
        else:
            yield path


def has_dicom_prefix(path: Path) -> bool:
    """Return whether a file begins as one of DICOM, and is no directory of a medium."""
    with path.open("rb") as file:
        return is_part10(path.name, file.read(132))
