"""The slices of series in order, side by side."""

from pathlib import Path
from typing import Any

import pytest

from tests.generated import ct, save
from tests.orthanc.judged import series_id
from tests.orthanc.side_by_side import SideBySide

AXIAL = [1, 0, 0, 0, 1, 0]
CORONAL = [1, 0, 0, 0, 0, -1]
OBLIQUE = [0.8, 0.6, 0, 0, 0, -1]


def placed(position: list[float], orientation: list[float] = AXIAL) -> dict[str, Any]:
    return {"ImagePositionPatient": position, "ImageOrientationPatient": orientation}


#: What is said of each slice, by its number; and what they are then.
SERIES: dict[str, tuple[dict[int, dict[str, Any]], str]] = {
    "upwards": ({n: placed([0, 0, 2.5 * n]) for n in (3, 1, 2)}, "Volume"),
    "downwards": ({n: placed([0, 0, -2.5 * n]) for n in (3, 1, 2)}, "Volume"),
    "across": ({n: placed([0, 10.0 - n, 0], CORONAL) for n in (2, 1, 3)}, "Volume"),
    "oblique": ({n: placed([3.0 * n, -4.0 * n, 0], OBLIQUE) for n in (2, 1, 3)}, "Volume"),
    "shuffled": ({n: placed([0, 0, float(z)]) for n, z in ((1, 5), (2, 1), (3, 9))}, "Volume"),
    "single": ({1: placed([0, 0, 1.0])}, "Sequence"),
    "nowhere": ({n: {} for n in (3, 1, 2)}, "Sequence"),
    "standing": ({n: placed([0, 0, 1.0]) for n in (3, 1, 2)}, "Sequence"),
    "turning": (
        {n: placed([0, 0, float(n)], AXIAL if n < 3 else CORONAL) for n in (3, 1, 2)},
        "Sequence",
    ),
    "partly": ({1: {}, 2: placed([0, 0, 1.0]), 3: placed([0, 0, 2.0])}, "Sequence"),
    "frames": ({n: {"NumberOfFrames": 2, "PixelData": bytes(16384)} for n in (2, 1)}, "Sequence"),
}


@pytest.mark.parametrize("name", SERIES)
def test_slices_are_in_the_same_order(servers: SideBySide, name: str, tmp_path: Path) -> None:
    slices, expected = SERIES[name]
    servers.store(
        [
            save(ct(number, study=name, **values), tmp_path / f"{number}.dcm")
            for number, values in slices.items()
        ]
    )
    ordered = servers.same(f"/series/{series_id(name)}/ordered-slices")
    assert ordered["Type"] == expected
    assert len(ordered["Dicom"]) == len(slices)
