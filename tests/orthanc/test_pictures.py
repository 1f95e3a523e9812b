"""Pictures of frames, pixel by pixel beside Orthanc's."""

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.corpus import pydicom_files
from tests.generated import ct, save
from tests.orthanc.loading import loaded
from tests.orthanc.side_by_side import Answer, SideBySide

#: Grey and colour of all kinds, compressed and not, that come with pydicom.
NAMES = (
    *("CT_small", "MR_small", "JPEG2000", "liver_1frame", "image_dfl", "ExplVR_BigEnd"),
    *("examples_overlay", "examples_palette", "examples_rgb_color", "examples_ybr_color"),
    *("SC_rgb_small_odd", "SC_rgb_jpeg_dcmtk", "JPEG-lossy", "rtdose_1frame", "rtplan"),
)
FRAMES = 10
RENDERED = (
    "rendered",
    "rendered?window-center=500&window-width=900.5",
    "rendered?width=50",
    "rendered?width=100&height=31",
    "rendered?height=17&smooth=1",
    "rendered?window-width=20",
)
GREY = ("CT_small", "cine", "MR_small", "inverse", "signed")


def generated(folder: Path) -> list[Path]:
    """A cine, an inverted image, and one with negative values and without a window."""
    noise = np.random.default_rng(1).integers(0, 4096, (FRAMES, 48, 64), dtype="<u2")
    cine = ct(1, study="cine", NumberOfFrames=FRAMES, Rows=48, PixelData=noise.tobytes())
    inverse = ct(1, study="inverse", PhotometricInterpretation="MONOCHROME1")
    values = noise[0].astype("<i2") - 2000
    signed = ct(1, study="signed", Rows=48, PixelRepresentation=1, PixelData=values.tobytes())
    signed.BitsStored, signed.HighBit = 16, 15
    del signed.WindowCenter, signed.WindowWidth, signed.RescaleSlope, signed.RescaleIntercept
    return [
        save(data_set, folder / f"{name}.dcm")
        for name, data_set in (("cine", cine), ("inverse", inverse), ("signed", signed))
    ]


@pytest.fixture(scope="module")
def instances(servers: SideBySide, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    found = {path.stem: path for path in pydicom_files()}
    files = [found[name] for name in NAMES if name in found]
    ids = loaded(servers, [*files, *generated(tmp_path_factory.mktemp("pictures"))])
    assert len(ids) > 12
    return ids


def pixels(answer: Answer) -> "np.ndarray":
    assert answer.status == 200
    return np.asarray(Image.open(io.BytesIO(answer.body)))


@pytest.mark.parametrize(
    "way", ["preview", "image-uint8", "image-uint16", "image-int16", *RENDERED]
)
def test_pixels_are_orthancs(servers: SideBySide, instances: dict[str, str], way: str) -> None:
    compared = 0
    for name, each in instances.items():
        ours, theirs = servers.both(f"/instances/{each}/{way}")
        if theirs.status != 200:
            # What Orthanc's codecs cannot do may be drawn here.
            assert ours.status in {theirs.status, 200}, name
            continue
        compared += 1
        assert ours.media_type == theirs.media_type == "image/png"
        difference = pixels(ours).astype(int) - pixels(theirs)
        assert not difference.any(), (name, np.abs(difference).max())
    assert compared > 6


@pytest.mark.parametrize("way", ["preview", "rendered", "image-uint8", "image-int16"])
def test_every_frame_can_be_had(servers: SideBySide, instances: dict[str, str], way: str) -> None:
    each = instances["cine"]
    frames = servers.same(f"/instances/{each}/frames")
    assert frames == list(range(10))
    servers.same(f"/instances/{each}/frames/0")
    for frame in (0, 4, 9):
        ours, theirs = servers.both(f"/instances/{each}/frames/{frame}/{way}")
        assert np.array_equal(pixels(ours), pixels(theirs))
    for beyond in ("10", "-1", "x"):
        ours, theirs = servers.both(f"/instances/{each}/frames/{beyond}/{way}")
        assert ours.status == theirs.status == 404


def test_an_arbitrary_map_is_orthancs_byte_by_byte(
    servers: SideBySide, instances: dict[str, str]
) -> None:
    for name in GREY:
        for way in ("preview", "image-uint16", "image-int16"):
            path = f"/instances/{instances[name]}/{way}"
            ours, theirs = servers.both(path, Accept="image/x-portable-arbitrarymap")
            assert ours.media_type == theirs.media_type
            assert ours.body == theirs.body


def test_a_jpeg_is_as_good_as_its_quality(servers: SideBySide, instances: dict[str, str]) -> None:
    path = f"/instances/{instances['CT_small']}/preview"
    accept = "image/*;q=0.2, image/jpeg"
    exact = pixels(servers.both(path)[0]).astype(int)
    sizes = []
    for quality in ("?quality=20", "", "?quality=100"):
        ours, theirs = servers.both(path + quality, Accept=accept)
        assert ours.media_type == theirs.media_type == "image/jpeg"
        assert abs(len(ours.body) - len(theirs.body)) < 0.1 * len(theirs.body)
        sizes.append(len(ours.body))
    assert sizes == sorted(sizes)
    assert np.abs(pixels(ours).astype(int) - exact).max() < 8
    refused, _ = servers.both(path.replace("preview", "image-uint16"), Accept="image/jpeg")
    assert refused.status in {400, 404, 415}


def test_what_is_no_image_is_unsupported(servers: SideBySide, instances: dict[str, str]) -> None:
    path = f"/instances/{instances['rtplan']}"
    for way in ("preview", "rendered", "frames/0/preview"):
        ours, theirs = servers.both(f"{path}/{way}")
        assert ours.status == theirs.status == 415
    ours, _ = servers.both(f"{path}/preview?returnUnsupportedImage")
    assert pixels(ours).shape == (128, 128)  # where it has been sent to


def test_a_picture_that_is_known_is_not_sent(
    servers: SideBySide, instances: dict[str, str]
) -> None:
    path = f"/instances/{instances['CT_small']}/preview"
    first, _ = servers.both(path)
    again, _ = servers.both(path, If_None_Match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    other, _ = servers.both(path.replace("preview", "rendered"))
    assert other.headers["etag"] != first.headers["etag"]


def test_raw_frames_are_the_stored_bytes(servers: SideBySide, instances: dict[str, str]) -> None:
    for name in ("CT_small", "JPEG2000", "cine", "JPEG-lossy"):
        path = f"/instances/{instances[name]}/frames/0/raw"
        ours, theirs = servers.both(path)
        assert ours.media_type == theirs.media_type, name
        assert ours.body == theirs.body, name
    ours, theirs = servers.both(f"/instances/{instances['cine']}/frames/9/raw")
    assert ours.body == theirs.body
    packed, theirs = servers.both(f"/instances/{instances['cine']}/frames/9/raw.gz")
    assert packed.media_type == theirs.media_type == "application/gzip"
    assert gzip.decompress(packed.body) == ours.body
    ours, theirs = servers.both(f"/instances/{instances['cine']}/frames/10/raw")
    assert ours.status == theirs.status == 400
    assert ours.json["OrthancStatus"] == theirs.json["OrthancStatus"]


@pytest.mark.parametrize("wrong", ["width=-1", "height=x", "window-center=x", "smooth=perhaps"])
def test_a_wrong_parameter_is_refused(
    servers: SideBySide, instances: dict[str, str], wrong: str
) -> None:
    ours, theirs = servers.both(f"/instances/{instances['CT_small']}/rendered?{wrong}")
    assert 400 <= ours.status < 500 <= theirs.status + 100


def array(answer: Answer) -> "np.ndarray":
    assert answer.status == 200
    loaded = np.load(io.BytesIO(answer.body))
    return loaded if isinstance(loaded, np.ndarray) else loaded["arr_0"]


@pytest.mark.parametrize("below", ["frames/0/numpy", "numpy", "frames/0/numpy?compress=1"])
@pytest.mark.parametrize("rescale", ["1", "0"])
def test_arrays_are_orthancs(
    servers: SideBySide, instances: dict[str, str], below: str, rescale: str
) -> None:
    for name in ("CT_small", "cine", "signed", "inverse", "SC_rgb_small_odd", "liver_1frame"):
        sign = "&" if "?" in below else "?"
        path = f"/instances/{instances[name]}/{below}{sign}rescale={rescale}"
        ours, theirs = servers.both(path)
        assert ours.media_type == theirs.media_type
        if "compress" in path:
            with np.load(io.BytesIO(theirs.body)) as packed:
                (expected,) = packed.values()
        else:
            expected = array(theirs)
        found = array(ours)
        assert (found.shape, found.dtype) == (expected.shape, expected.dtype), name
        assert np.array_equal(found, expected), name


def test_a_series_is_one_array(servers: SideBySide, instances: dict[str, str]) -> None:
    series = servers.both(f"/instances/{instances['cine']}/series")[1].json["ID"]
    ours, theirs = servers.both(f"/series/{series}/numpy")
    assert np.array_equal(array(ours), array(theirs))
    assert array(ours).shape == (FRAMES, 48, 64, 1)


def test_matlab_is_told_what_orthanc_tells(servers: SideBySide, instances: dict[str, str]) -> None:
    for name in ("CT_small", "signed", "SC_rgb_small_odd"):
        servers.same(f"/instances/{instances[name]}/matlab")
    servers.same(f"/instances/{instances['cine']}/frames/3/matlab")


def test_no_array_of_what_is_no_image(servers: SideBySide, instances: dict[str, str]) -> None:
    for below in ("numpy", "frames/0/numpy", "matlab"):
        ours, _ = servers.both(f"/instances/{instances['rtplan']}/{below}")
        assert ours.status == 415
    for below in ("frames/10/numpy", "frames/10/matlab"):
        ours, theirs = servers.both(f"/instances/{instances['cine']}/{below}")
        assert ours.status == theirs.status == 400
