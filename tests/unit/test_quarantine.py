"""The quarantine: nothing received is thrown away, and a person can see why it is there."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hilum.core.errors import NotDicom, StorageFull, StorageUnavailable
from hilum.core.instance import Origin
from hilum.storage.quarantine import Quarantine, QuarantinedFile
from hilum.storage.spool import Spool
from tests.contract.spooling import ORIGIN, sha256sum, spooled


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.close()


@pytest.fixture
def quarantine(tmp_path: Path) -> Quarantine:
    return Quarantine(tmp_path / "quarantine")


def test_a_kept_file_moves_with_its_bytes(spool: Spool, quarantine: Quarantine) -> None:
    entry = spooled(spool, b"no DICOM at all")
    path = quarantine.keep(entry, "no DICM prefix", NotDicom.code)
    assert path.name == entry.name
    assert path.read_bytes() == b"no DICOM at all"
    assert sha256sum(path) == entry.blob.digest
    assert list(spool.recover()) == []


def test_the_side_file_says_who_when_and_why(spool: Spool, quarantine: Quarantine) -> None:
    entry = spooled(spool, b"no DICOM at all", Origin("RÖ 1", ORIGIN.received_at))
    path = quarantine.keep(entry, "no DICM prefix", NotDicom.code)
    side = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))
    assert side == {
        "received_at": "2026-11-22T06:46:43.123456+00:00",
        "source": "RÖ 1",
        "digest": sha256sum(path),
        "size_bytes": 15,
        "code": "not-dicom",
        "reason": "no DICM prefix",
    }


def test_entries_come_oldest_first_and_are_counted(spool: Spool, quarantine: Quarantine) -> None:
    assert len(quarantine) == 0
    assert quarantine.size_bytes == 0
    entries = [spooled(spool, bytes(size)) for size in (30, 10, 20)]
    paths = [quarantine.keep(entry, "too dull", "invalid") for entry in reversed(entries)]
    assert list(quarantine.entries()) == [
        QuarantinedFile(path, entry.blob, ORIGIN, "invalid", "too dull")
        for entry, path in zip(entries, reversed(paths), strict=True)
    ]
    assert len(quarantine) == 3
    assert quarantine.size_bytes == 60


def test_what_a_person_clears_is_gone(spool: Spool, quarantine: Quarantine) -> None:
    path = quarantine.keep(spooled(spool, b"x"), "reason", "invalid")
    path.unlink()
    assert len(quarantine) == 0
    assert list(quarantine.entries()) == []


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"digest": 1}', None])
def test_a_side_file_edited_beyond_recognition_is_reported(
    spool: Spool, quarantine: Quarantine, text: str | None
) -> None:
    damaged = quarantine.keep(spooled(spool, b"x"), "reason", "invalid")
    intact = quarantine.keep(spooled(spool, b"y"), "reason", "invalid")
    side = Path(f"{damaged}.json")
    side.unlink()
    if text is not None:
        side.write_text(text)
    with capture_logs() as logs:
        assert [entry.path for entry in quarantine.entries()] == [intact]
    assert [log["file"] for log in logs] == [damaged.name]
    assert len(quarantine) == 2


def test_a_strangers_file_keeps_a_name_that_is_no_side_file(
    spool: Spool, quarantine: Quarantine
) -> None:
    (spool._root / "evil.dcm.json").write_bytes(b"{}")
    (entry,) = spool.recover()
    path = quarantine.keep(entry, "not DICOM", "not-dicom")
    assert path.name == "evil.dcm.json.dcm"
    (found,) = quarantine.entries()
    assert found.origin.source == "unknown"


def test_keeping_again_after_a_crash_in_between_changes_nothing(
    spool: Spool, quarantine: Quarantine
) -> None:
    entry = spooled(spool, b"bytes")
    path = quarantine.keep(entry, "reason", "invalid")
    entry.path.hardlink_to(path)  # as if the crash had come before it left the spool
    (replayed,) = spool.recover()
    assert quarantine.keep(replayed, "reason", "invalid") == path
    assert path.read_bytes() == b"bytes"
    assert len(quarantine) == 1
    assert not entry.path.exists()
    assert {found.name for found in path.parent.iterdir()} == {path.name, f"{path.name}.json"}


@pytest.mark.parametrize("call", ["fdatasync", "rename", "link", "fsync"])
def test_what_cannot_be_kept_stays_in_the_spool(
    spool: Spool, quarantine: Quarantine, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    entry = spooled(spool, b"bytes")
    with monkeypatch.context() as patched:
        patched.setattr(os, call if call != "rename" else "replace", fail_as_full)
        with pytest.raises(StorageFull):
            quarantine.keep(entry, "reason", "invalid")
    assert list(spool.recover()) == [entry]
    quarantine.keep(entry, "reason", "invalid")
    assert len(quarantine) == 1


def fail_as_full(*_arguments: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_file_where_the_folder_should_be_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "quarantine").write_bytes(b"")
    with pytest.raises(StorageUnavailable):
        Quarantine(tmp_path / "quarantine")
