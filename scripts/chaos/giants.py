"""Objects far larger than memory should ever hold of them."""

import shutil

from scripts.chaos.case import case
from scripts.chaos.footprint import MEGABYTE, back, peak, settled
from scripts.chaos.ground import Ground
from scripts.chaos.instances import write_series, write_sparse
from scripts.chaos.programs import send, send_at_once
from scripts.chaos.verdict import nothing_lost, stored

_GIGABYTE = 1 << 30


@case("giants", "objects of 2 GB on 4 associations at the same time")
def giants(ground: Ground, size_bytes: int = 2 * _GIGABYTE, associations: int = 4) -> str:
    """Receive large objects at once, and see what the node needs for it."""
    needed = associations * size_bytes
    free = shutil.disk_usage(ground.folder).free
    assert free > 2 * needed, f"{needed} bytes are to be stored, {free} are free"
    node = ground.node()
    send(node, write_series(ground.folder / "warm-up", 20))
    files = [
        write_sparse(ground.folder / f"{number}.dcm", size_bytes) for number in range(associations)
    ]
    before = settled(node)
    with peak(node, before) as most:
        sent = send_at_once(node, [[path] for path in files])
    assert sent.acknowledged == files
    assert most.growth_bytes < 64 * MEGABYTE, f"grew by {most.growth_bytes / MEGABYTE:.0f} MB"
    nothing_lost(node, files, compare=False)  # sha256sum reads it all as it is
    sizes = sorted(path.stat().st_size for path in stored(node))[-associations:]
    assert min(sizes) >= size_bytes
    return (
        f"{needed / 1e9:.1f} GB in {sent.seconds:.0f} s ({needed / 1e6 / sent.seconds:.0f} MB/s); "
        f"a process grew by at most {most.growth_bytes / MEGABYTE:.0f} MB; {back(node, before)}"
    )
