"""The stock of files made ahead: their names last before anything is received."""

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hilum.storage import stock as stock_module
from hilum.storage.spool import Spool
from hilum.storage.stock import Stock
from tests.contract.spooling import ORIGIN, spooled


def test_a_stock_that_somebody_sweeps_away_is_made_anew(marked: Spool) -> None:
    spooled(marked, b"x").remove()
    for path in marked._root.glob("*.slot"):
        path.unlink()
    assert spooled(marked, b"y").path.read_bytes() == b"y"


def test_a_spool_that_ends_in_order_leaves_nothing(marked: Spool) -> None:
    for number in range(40):
        spooled(marked, bytes([number])).remove()
    marked.close()
    assert [path.name for path in marked._root.iterdir()] == [".lock"]


def test_a_stock_of_a_dead_run_is_removed(marked: Spool) -> None:
    marked.create(ORIGIN).abort()
    left = [path.name for path in marked._root.glob("*.slot")]
    assert len(left) > 1
    again = Spool(marked._root.rename(marked._root.with_name("moved")))
    assert list(again.recover()) == []
    assert list(again._root.glob("*.slot")) == []
    again.close()


def test_names_last_before_anything_is_received_under_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is taken while files are made, by any number of takers, was synced before."""
    lasting: set[str] = set()
    sync = stock_module.sync_folder

    def recording(folder: Path) -> None:
        names = {path.name for path in folder.iterdir()}
        sync(folder)
        lasting.update(names)

    monkeypatch.setattr(stock_module, "sync_folder", recording)
    stock = Stock(tmp_path, "0123abcd")

    def take(_number: int) -> Path:
        path = stock.take()
        assert path.name in lasting
        return path

    with ThreadPoolExecutor(8) as takers:
        taken = list(takers.map(take, range(500)))
    assert len(set(taken)) == 500
    stock.close()
    assert sorted(tmp_path.iterdir()) == sorted(taken)


def test_a_stock_takes_what_the_disk_still_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, left = stock_module.create_slot, iter(range(3))

    def create_three(path: Path) -> None:
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        create(path)

    monkeypatch.setattr(stock_module, "create_slot", create_three)
    stock = Stock(tmp_path, "0123abcd")
    assert len({stock.take() for _ in range(3)}) == 3
    with pytest.raises(OSError, match="No space left"):
        stock.take()
    stock.close()
