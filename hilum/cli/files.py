"""Finding the files that a command was given: files as named, folders all the way down."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path


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
    """Return whether a file begins as PS3.10 7.1 says, and is no directory of a medium."""
    if path.name.upper() == "DICOMDIR":
        return False
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"
