"""What dcmtk makes of a file, beside what the node makes of it.

dcmtk 3.6 does not read every transfer syntax: what it cannot is first rewritten as Explicit
VR Little Endian by the node, whose decoders other tests hold against other oracles.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hilum.core.errors import HilumError
from hilum.imaging.description import ImageDescription
from hilum.imaging.encoding import EXPLICIT_VR_BIG_ENDIAN, EXPLICIT_VR_LITTLE_ENDIAN
from hilum.imaging.grey import Rescale, Window
from hilum.imaging.transcode import transcode
from tests.pictures import Source

#: Files of which the two programs make different pictures, and why.
REASONS = {
    "CTImage.dcm_JPEG2000TransferSyntax_1.2.840.10008.1.2.4.91.dcm": "Rescale Slope and "
    "Intercept have the VR UN, in which dcmtk does not read them",
    "CTImage.dcm_JPEG2000LosslessOnlyTransferSyntax_1.2.840.10008.1.2.4.90.dcm": "Rescale "
    "Slope and Intercept have the VR UN, in which dcmtk does not read them",
    "SC_ybr_full_uncompressed.dcm": "dcmtk rounds the conversion to RGB twice: 2 levels",
    "example.dcm": "RGB by its header, YCbCr by its code stream: dcmtk believes the header",
    "example2.dcm": "RGB by its header, YCbCr by its code stream: dcmtk believes the header",
    "example-mg.dcm": "RGB by its header, YCbCr by its code stream: dcmtk believes the header",
}
#: Files that dcmtk draws nothing of, and why.
BEYOND_DCMTK = {
    "parametric_map_float.dcm": "floating-point pixels",
    "gdcm-US-ALOKA-16.dcm": "segmented palette",
}


@dataclass(frozen=True)
class Comparison:
    """How far two pictures of a file's first frame are apart."""

    difference: int | None
    """Grey levels at most; None: dcmtk has no picture."""


def plain(name: str) -> str:
    """Return a name without the digest that the real images have in front of theirs."""
    digest, underscore, rest = name.partition("_")
    return rest if underscore and len(digest) == 8 and digest.isalnum() else name


def compared(found: Source, folder: Path) -> Comparison:
    """Hold a file's first frame, drawn as the file says, against dcmtk's picture of it.

    Raises
    ------
    HilumError
        The node has no picture.
    """
    ours = found.picture()
    description = found.description()
    options = _options(description, found)
    path = found.path
    # dcmtk swaps the words of 32-bit pixels in big endian.
    wide = description.bits_allocated == 32
    theirs = None
    if not (wide and found.transfer_syntax_uid == EXPLICIT_VR_BIG_ENDIAN):
        theirs = _drawn(path, folder, options)
    if theirs is None:
        path = folder / f"native-{path.name}"
        try:
            with found.path.open("rb") as source, path.open("wb") as target:
                transcode(source, found.transfer_syntax_uid, EXPLICIT_VR_LITTLE_ENDIAN, target)
        except HilumError:
            return Comparison(None)
        theirs = _drawn(path, folder, options)
    if theirs is None:
        return Comparison(None)
    assert ours.shape == theirs.shape
    return Comparison(int(np.abs(ours.astype(int) - theirs).max()))


def _options(description: ImageDescription, found: Source) -> list[str]:
    """Return how dcmtk is told to do what the node does unasked."""
    if not description.photometric_interpretation.startswith("MONOCHROME"):
        return []
    transform = description.transform(0)
    if transform.windows:
        return _window(transform.windows[0])
    if transform.voi_luts:
        return ["+Wl", "1"]
    if description.bits_stored == 1:
        return _window(Window(1, 2))
    ready = description.bits_stored <= 8 and not description.signed
    if ready and transform.modality == Rescale() and not description.is_label_map:
        return ["-W"]
    if description.padding is None:
        return ["+Wm"]
    # dcmtk's own range includes the padding.
    stored = found.decoded().reshape(-1, *description.shape)[0]
    values = stored[(stored < description.padding[0]) | (stored > description.padding[1])]
    assert isinstance(transform.modality, Rescale)
    slope, intercept = transform.modality.slope, transform.modality.intercept
    low, high = sorted(slope * int(end) + intercept for end in (values.min(), values.max()))
    return _window(Window((low + high + 1) / 2, high - low + 1))


def _window(window: Window) -> list[str]:
    function = {"LINEAR": "+Wfl", "SIGMOID": "+Wfs"}[window.function]
    return [function, "+Ww", repr(float(window.center)), repr(float(window.width))]


def _drawn(path: Path, folder: Path, options: list[str]) -> NDArray[np.uint8] | None:
    target = folder / f"{path.name}.pnm"
    for program in ("dcmj2pnm", "dcml2pnm"):
        command = [f"/usr/bin/{program}", "-q", "-O", *options, "+op", "+F", "1", path, target]
        outcome = subprocess.run(command, capture_output=True, timeout=60, check=False)
        if not outcome.returncode and target.exists():
            picture = np.asarray(Image.open(target))
            target.unlink()
            return picture
    return None
