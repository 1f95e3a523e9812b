"""Pictures beside dcmtk's: what files say of themselves, overlays, presentation LUT shapes."""

import subprocess
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset

from hilum.core.errors import HilumError
from hilum.imaging.rendering import Rendering, Shape
from tests.corpus import REAL_IMAGES, REPOSITORY, rows
from tests.generated import ct, save
from tests.pictures import Source, source
from tests.reference_pictures import BEYOND_DCMTK, REASONS, compared, plain


def sample() -> list[str]:
    """The smallest file of each kind there is; scripts/picture_table.py takes them all."""
    smallest: dict[tuple[str, ...], dict[str, str]] = {}
    for row in rows("MANIFEST.csv"):
        kind = (row["ts_uid"], row["photometric"], row["bits_stored"], row["pixel_rep"])
        if row["photometric"] and int(row["size"]) < int(
            smallest.get(kind, {"size": "999999999"})["size"]
        ):
            smallest[kind] = row
    return sorted(row["file"] for row in smallest.values())


@pytest.mark.parametrize("file", sample())
def test_a_picture_is_dcmtks(file: str, tmp_path: Path) -> None:
    """One grey level at most lies between them: dcmtk floors where the rule rounds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = source(REAL_IMAGES / file, tmp_path)
    if found is None:
        pytest.skip("no node would take it")
    try:
        difference = compared(found, tmp_path).difference
    except HilumError:
        assert plain(Path(file).name) in REFUSED
        return
    if difference is None:
        assert plain(Path(file).name) in BEYOND_DCMTK
    elif plain(Path(file).name) not in REASONS:
        assert difference <= 1


#: Neither dcmtk nor pydicom has a picture of these.
REFUSED = {
    "example3.dcm",
    "JPEG2000-embedded-sequence-delimiter.dcm",
    "nested_priv_SQ.dcm",
}


def test_the_table_of_the_documentation_is_about_these_files() -> None:
    manifest = rows("MANIFEST.csv")
    if not manifest:
        pytest.skip("the real images are not here")
    files = Counter((row["ts"], row["photometric"]) for row in manifest)
    oracle = {row["file"] for row in rows("RENDER_ORACLE.csv")}
    equal = Counter((row["ts"], row["photometric"]) for row in manifest if row["file"] in oracle)
    page = (REPOSITORY / "docs" / "imaging.md").read_text()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines()]
    table = [row for row in cells if len(row) == 6 and row[2].isdigit()]
    assert sum(int(row[2]) for row in table) > 250
    for syntax, photometric, count, drawn, alike, hashes in table:
        kind = syntax, photometric
        assert int(count) <= files[kind]
        assert int(hashes or 0) == equal[kind]
        assert int(alike or 0) <= int(drawn) <= int(count)
    assert sum(int(row[5] or 0) for row in table) == len(oracle)
    refused = sum(int(row[2]) - int(row[3]) for row in table)
    assert refused == len(REFUSED)
    for name in [*REASONS, *BEYOND_DCMTK, *REFUSED]:
        assert name in page


def overlaid(photometric: str) -> FileDataset:
    """A slice with a drawing that begins outside of it, and a second one."""
    data_set = ct(PhotometricInterpretation=photometric)
    for group, origin, shape in ((0x6000, (3, -2), (20, 37)), (0x6002, (40, 50), (30, 9))):
        plane = np.random.default_rng(group).integers(0, 2, shape).astype(np.uint8)
        packed = np.packbits(plane.reshape(-1), bitorder="little").tobytes()
        data_set.add_new((group, 0x10), "US", shape[0])
        data_set.add_new((group, 0x11), "US", shape[1])
        data_set.add_new((group, 0x40), "CS", "G")
        data_set.add_new((group, 0x50), "SS", list(origin))
        data_set.add_new((group, 0x100), "US", 1)
        data_set.add_new((group, 0x102), "US", 0)
        data_set.add_new((group, 0x3000), "OW", packed + b"\0" * (len(packed) % 2))
    return data_set


def drawn_by_dcmtk(found: Source, *options: str) -> NDArray[np.int_]:
    target = found.path.with_suffix(".pgm")
    command = ["/usr/bin/dcmj2pnm", *options, "+Wi", "1", "+op", str(found.path), str(target)]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return np.asarray(Image.open(target)).astype(int)


@pytest.fixture(params=["MONOCHROME1", "MONOCHROME2"])
def drawing(request: pytest.FixtureRequest, tmp_path: Path) -> Source:
    found = source(save(overlaid(request.param), tmp_path / "overlaid.dcm"), tmp_path)
    assert found is not None
    return found


def test_overlays_are_dcmtks(drawing: Source) -> None:
    expected = drawn_by_dcmtk(drawing, "+O", "0")
    shown = drawing.picture(0, Rendering(overlays=True))
    assert np.abs(shown - expected).max() <= 1
    assert np.abs(drawing.picture() - drawn_by_dcmtk(drawing, "-O")).max() <= 1
    assert (shown != drawing.picture()).sum() > 100


@pytest.mark.parametrize(("option", "shape"), [("+Pid", "IDENTITY"), ("+Piv", "INVERSE")])
def test_presentation_lut_shapes_are_dcmtks(drawing: Source, option: str, shape: Shape) -> None:
    shown = drawing.picture(0, Rendering(presentation=shape))
    assert np.abs(shown - drawn_by_dcmtk(drawing, "-O", option)).max() <= 1
