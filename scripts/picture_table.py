"""Print the table of docs/imaging.md: what becomes of the real images, by kind.

Run from the repository's root, with the real images beside it and dcmtk installed:
``PYTHONPATH=. .venv/bin/python scripts/picture_table.py``.
"""

import tempfile
import warnings
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hilum.core.errors import HilumError
from tests.corpus import REAL_IMAGES, rows
from tests.pictures import source
from tests.reference_pictures import BEYOND_DCMTK, REASONS, compared, plain


def outcome(row: dict[str, str], folder: str) -> str | None:
    with tempfile.TemporaryDirectory(dir=folder) as own:
        found = source(REAL_IMAGES / row["file"], Path(own))
        if found is None:
            return None
        try:
            difference = compared(found, Path(own)).difference
        except HilumError:
            return "refused"
    if difference is None:
        assert plain(found.path.name) in BEYOND_DCMTK, row
        return "drawn"
    if difference > 1:
        assert plain(found.path.name) in REASONS, row
        return "otherwise"
    return "alike"


def main() -> None:
    warnings.simplefilter("ignore")
    manifest = rows("MANIFEST.csv")
    oracle = {row["file"] for row in rows("RENDER_ORACLE.csv")}
    counts: dict[tuple[str, str, str], Counter[str]] = defaultdict(Counter)
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        for row, found in zip(
            manifest, pool.map(lambda row: outcome(row, folder), manifest), strict=True
        ):
            if found is not None:
                kind = counts[row["ts_uid"], row["ts"], row["photometric"]]
                kind.update({found: 1, "files": 1, "oracle": int(row["file"] in oracle)})
    print("| transfer syntax | photometric interpretation | files | pictures | dcmtk | oracle |")
    print("|---|---|---|---|---|---|")
    for (_, name, photometric), kind in sorted(counts.items()):
        drawn = kind["files"] - kind["refused"]
        print(
            f"| {name} | {photometric} | {kind['files']} | {drawn} "
            f"| {kind['alike'] or ''} | {kind['oracle'] or ''} |"
        )


if __name__ == "__main__":
    main()
