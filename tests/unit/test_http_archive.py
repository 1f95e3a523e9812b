"""Archives: what is taken out of them, and which are refused."""

import io
import struct
import subprocess
import warnings
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hilum.core.errors import HilumError, Unsupported
from hilum.http.archive import Archive, ArchiveLimits, entries, is_archive

LIMITS = ArchiveLimits()


def packed(*files: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


def unpacked(archive: bytes, limits: ArchiveLimits = LIMITS) -> dict[str, bytes]:
    return {entry.name: b"".join(entry.pieces()) for entry in entries(io.BytesIO(archive), limits)}


def test_nested_files_come_out_without_folders_and_junk() -> None:
    archive = packed(
        ("study/", b""),
        ("study/one.dcm", b"1"),
        ("study/deeper/still/two", b"2" * 3_000_000),
        ("__MACOSX/study/._one.dcm", b"junk"),
        ("study/.DS_Store", b"junk"),
        ("study/Thumbs.db", b"junk"),
        ("study/._two", b"junk"),
        ("DICOMDIR", b"a directory"),
    )
    assert unpacked(archive) == {
        "study/one.dcm": b"1",
        "study/deeper/still/two": b"2" * 3_000_000,
    }


def test_an_archive_by_its_head_unless_it_is_a_part_10_file() -> None:
    assert is_archive(packed(("a", b"b"))[:132])
    assert is_archive(packed())
    assert not is_archive(b"PK\x03\x04" + bytes(124) + b"DICM")
    assert not is_archive(b"")


@pytest.mark.parametrize("keep", [10, 100])
def test_a_truncated_archive_is_refused(keep: int) -> None:
    with pytest.raises(Archive, match="damaged"):
        unpacked(packed(("a", bytes(range(256)) * 10))[:keep])


def test_a_damaged_entry_is_told_from_its_whole_neighbour() -> None:
    archive = bytearray(packed(("a", b"a" * 100), ("b", b"b" * 100), method=zipfile.ZIP_STORED))
    archive[archive.index(b"aaaa")] ^= 1
    first, second = entries(io.BytesIO(archive), LIMITS)
    with pytest.raises(Archive, match="damaged"):
        list(first.pieces())
    assert b"".join(second.pieces()) == b"b" * 100


def test_an_encrypted_entry_is_unsupported() -> None:
    archive = bytearray(packed(("a", b"a")))
    table = archive.index(b"PK\x01\x02")
    archive[table + 8] |= 1
    (entry,) = entries(io.BytesIO(archive), LIMITS)
    with pytest.raises(Unsupported, match="encrypted"):
        list(entry.pieces())


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_packings_whose_memory_the_sender_chooses_are_unsupported(method: int) -> None:
    (entry,) = entries(io.BytesIO(packed(("a", b"a"), method=method)), LIMITS)
    with pytest.raises(Unsupported, match="deflate"):
        list(entry.pieces())


def test_a_bomb_is_refused_before_anything_is_unpacked() -> None:
    archive = packed(("zeros", bytes(50_000_000)))
    limits = ArchiveLimits(ratio_free_bytes=1 << 20)
    assert len(archive) < 100_000
    with pytest.raises(Archive, match="times its size"):
        unpacked(archive, limits)
    assert len(unpacked(archive)["zeros"]) == 50_000_000  # black, small, and honest


def test_an_entry_never_yields_more_than_the_table_says() -> None:
    archive = bytearray(packed(("zeros", bytes(5_000_000))))
    table = archive.index(b"PK\x01\x02")
    struct.pack_into("<I", archive, table + 24, 10)  # uncompressed size, PKZIP APPNOTE 4.3.12
    (entry,) = entries(io.BytesIO(archive), LIMITS)
    found: list[bytes] = []
    with pytest.raises(Archive):
        found.extend(entry.pieces())
    assert sum(map(len, found)) <= 10


def test_overlapping_entries_count_as_often_as_they_are_listed() -> None:
    # One packed entry that the table lists many times, as in Fifield's bombs.
    archive = packed(("zeros", bytes(1_000_000)))
    table, end = archive.index(b"PK\x01\x02"), archive.index(b"PK\x05\x06")
    record = archive[table:end]
    tail = bytearray(archive[end:])
    struct.pack_into("<HHI", tail, 8, 1000, 1000, 1000 * len(record))
    bomb = archive[:table] + 1000 * record + bytes(tail)
    with pytest.raises(Archive, match="unpacks to more"):
        unpacked(bomb, ArchiveLimits(unpacked_bytes=1 << 29))


def test_more_entries_or_a_longer_table_than_allowed_are_refused() -> None:
    archive = packed(*((f"{n:0100}", b"") for n in range(200)))
    with pytest.raises(Archive, match="more than 100 files"):
        unpacked(archive, ArchiveLimits(entries=100))
    with pytest.raises(Archive, match="table of contents"):
        unpacked(archive, ArchiveLimits(table_bytes=10_000))


@settings(max_examples=300)
@given(st.data())
def test_flipped_bytes_give_contents_or_a_domain_error(data: st.DataObject) -> None:
    archive = bytearray(packed(("a/ü.dcm", b"abc" * 100), ("b", b"x" * 2000), ("c", b"")))
    for _ in range(data.draw(st.integers(1, 4))):
        # Rather in the table of contents, where every byte means something.
        first = data.draw(st.sampled_from([0, len(archive) - 240]))
        archive[data.draw(st.integers(first, len(archive) - 1))] = data.draw(st.integers(0, 255))
    with warnings.catch_warnings(), suppress(HilumError):
        warnings.simplefilter("ignore")  # zipfile's own, over names that are there twice
        unpacked(bytes(archive))


def test_an_archive_of_another_program_is_read(tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "ü.dcm").write_bytes(b"content" * 1000)
    program = "import shutil; shutil.make_archive('out', 'zip', '.', 'study')"
    subprocess.run(["/usr/bin/env", "python3", "-c", program], cwd=tmp_path, check=True)
    assert unpacked((tmp_path / "out.zip").read_bytes()) == {"study/ü.dcm": b"content" * 1000}
