"""The synthetic studies: valid, different, moving, and the same every time."""

import subprocess
from collections import defaultdict
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset
from pydicom.pixels import apply_modality_lut

from hilum.demo.studies import INSTANCE_COUNT, studies, write_studies


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    assert sum(1 for _ in write_studies(folder)) == INSTANCE_COUNT
    return folder


@pytest.fixture(scope="module")
def instances(folder: Path) -> dict[str, list[FileDataset]]:
    by_modality = defaultdict(list)
    for path in sorted(folder.iterdir()):
        dataset = pydicom.dcmread(path)
        by_modality[dataset.Modality].append(dataset)
    return dict(by_modality)


def test_there_is_a_study_of_each_kind(instances: dict[str, list[FileDataset]]) -> None:
    assert {name: len(files) for name, files in instances.items()} == {
        "CT": 40,
        "MR": 44,
        "CR": 2,
        "XA": 1,
    }
    for files in instances.values():
        assert len({each.StudyInstanceUID for each in files}) == 1
        assert len({each.SOPInstanceUID for each in files}) == len(files)
    assert len({each.SeriesInstanceUID for each in instances["MR"]}) == 2
    assert len({each[0].StudyInstanceUID for each in instances.values()}) == 4


def test_names_come_back_in_their_alphabets(folder: Path) -> None:
    """By dcmtk, not by the library that wrote them."""
    expected = {
        "CT-2-001.dcm": "Lindström^Åsa^Märta",
        "MR-1-001.dcm": "Соколова^Анна^Викторовна",
        "XA-1-001.dcm": "Nguyễn^Văn^Minh",
    }
    for name, patient in expected.items():
        dump = subprocess.run(
            ["/usr/bin/dcmdump", "+U8", "+P", "PatientName", folder / name],
            capture_output=True,
            check=True,
        )
        assert f"[{patient}]" in dump.stdout.decode()


def test_the_japanese_name_is_encoded_as_in_the_standards_example(folder: Path) -> None:
    """PS3.5 H.3.1, example 1; dcmtk cannot convert it here."""
    encoded = (
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B"
    )
    assert encoded in (folder / "CR-1-001.dcm").read_bytes()


def test_slices_lie_in_space_as_their_spacing_says(
    instances: dict[str, list[FileDataset]],
) -> None:
    for modality in ("CT", "MR"):
        first, second = (
            each
            for each in instances[modality]
            if each.InstanceNumber in (1, 2)
            and each.SeriesInstanceUID == instances[modality][0].SeriesInstanceUID
        )
        apart = abs(second.ImagePositionPatient[2] - first.ImagePositionPatient[2])
        assert apart == first.SpacingBetweenSlices


def test_ct_is_in_hounsfield_units(instances: dict[str, list[FileDataset]]) -> None:
    middle = instances["CT"][20]
    values = apply_modality_lut(middle.pixel_array, middle)
    assert abs(np.median(values[:20, :20]) + 1000) < 15  # air
    assert (np.abs(values - 400) < 200).sum() > 2000  # bone and contrast
    assert (np.abs(values + 860) < 60).sum() > 20000  # lung


def test_the_run_moves_and_fills(instances: dict[str, list[FileDataset]]) -> None:
    (run,) = instances["XA"]
    frames = run.pixel_array.astype(float)
    assert frames.shape == (60, 512, 512)
    assert run.FrameTime == pytest.approx(66.667)
    dark = [(frame[100:450, 150:450] < 90).sum() for frame in frames]
    assert max(dark) > 20 * (dark[0] + 1)  # contrast arrives
    assert max(dark[10:40]) > 3 * dark[59]  # and goes
    assert np.abs(frames[31] - frames[37]).mean() > 2  # the heart beats


def test_pixels_fit_the_bits_they_declare(instances: dict[str, list[FileDataset]]) -> None:
    for files in instances.values():
        for each in files:
            assert each.pixel_array.max() < 2**each.BitsStored
            assert each.pixel_array.std() > 5


def test_the_same_again_is_the_same_file(folder: Path, tmp_path: Path) -> None:
    """UIDs and pixels follow from nothing but the code: sending twice adds nothing."""
    first = next(studies())
    first.save_as(tmp_path / "again.dcm", enforce_file_format=True)
    assert (tmp_path / "again.dcm").read_bytes() == (folder / "CT-2-001.dcm").read_bytes()
