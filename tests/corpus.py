"""The files tests run over: real images where they are, pydicom's own test files always."""

import csv
from functools import cache
from pathlib import Path

import pydicom.data

REPOSITORY = Path(__file__).resolve().parents[1]
#: Real images with a manifest and what other programs make of them; not in every clone.
REAL_IMAGES = REPOSITORY.parent / "shared" / "data"


@cache
def rows(table: str) -> tuple[dict[str, str], ...]:
    """Return the rows of one of the tables beside the real images; none without them."""
    path = REAL_IMAGES / table
    if not path.exists():
        return ()
    with path.open(newline="") as file:
        return tuple(csv.DictReader(file))


@cache
def real_files() -> tuple[Path, ...]:
    """Return every real image, by name; none where they are absent."""
    return tuple(sorted(REAL_IMAGES / row["file"] for row in rows("MANIFEST.csv")))


@cache
def pydicom_files() -> tuple[Path, ...]:
    """Return the test files that come inside the pydicom package, by name."""
    folder = Path(pydicom.data.__file__).parent / "test_files"
    return tuple(sorted(path for path in folder.glob("*.dcm") if path.is_file()))


@cache
def charset_files() -> dict[str, Path]:
    """Return the examples of character sets inside the pydicom package, by name."""
    folder = Path(pydicom.data.__file__).parent / "charset_files"
    return {path.stem: path for path in sorted(folder.glob("*.dcm"))}


@cache
def all_files() -> tuple[Path, ...]:
    """Return the whole corpus."""
    return real_files() + pydicom_files()
