"""`hilum ohif install`, with packages made here in place of npm's."""

import base64
import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from hilum.cli import main
from hilum.cli.ohif_package import PINNED, Origin, fetch, installed, unpack
from hilum.core.errors import Corrupt, Invalid, Temporary

SCRIPT = b'let x;\n__webpack_require__.p = "/";\n'
FILES = {
    "package/package.json": b"{}",
    "package/dist/index.html": b"<html></html>",
    "package/dist/app.bundle.0123456789abcdef.js": SCRIPT + b" " * 2000,
    "package/dist/app.bundle.css": b"@font-face { src: url(/a.woff2) }",
    "package/dist/manifest.json": b'{"icons": [{"src": "/assets/a.png"}]}',
    "package/dist/ort/ort.js": b"1;",
    "package/dist/ort/ort.js.map": b"{}",
}


def package(path: Path, files: dict[str, bytes] = FILES, *links: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for link in links:
            archive.addfile(link)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def origin_of(path: Path, version: str = "1.0.0") -> Origin:
    digest = base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()
    return Origin(version, f"sha512-{digest}")


@pytest.fixture
def install(tmp_path: Path) -> Callable[[Path], Path]:
    def install(file: Path) -> Path:
        unpack(file, origin_of(file), tmp_path / "ohif", lambda _: None)
        return tmp_path / "ohif"

    return install


def test_what_a_browser_needs_is_laid_out(tmp_path: Path, install: Callable[[Path], Path]) -> None:
    folder = install(package(tmp_path / "p.tgz"))
    assert installed(folder) == "1.0.0"
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {
        ".hilum-ohif.json",
        "index.html",
        "app.bundle.0123456789abcdef.js",
        "app.bundle.0123456789abcdef.js.gz",
        "app.bundle.css",
        "manifest.json",
        "ort/ort.js",
    }
    script = (folder / "app.bundle.0123456789abcdef.js").read_bytes()
    assert b'.p = "/"' not in script
    assert b"/ohif" in script
    packed = (folder / "app.bundle.0123456789abcdef.js.gz").read_bytes()
    assert gzip.decompress(packed) == script
    assert (folder / "app.bundle.css").read_bytes() == b"@font-face { src: url(a.woff2) }"
    assert json.loads((folder / "manifest.json").read_text())["icons"][0]["src"] == "assets/a.png"


def test_names_that_lead_elsewhere_and_links_are_left_out(
    tmp_path: Path, install: Callable[[Path], Path]
) -> None:
    link = tarfile.TarInfo("package/dist/link")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    evil = {
        "package/dist/../../../evil.js": b"1",
        "package/dist//evil.js": b"1",
        "/evil.js": b"1",
        "../evil.js": b"1",
    }
    folder = install(package(tmp_path / "p.tgz", {**evil, **FILES}, link))
    assert not [path for path in tmp_path.rglob("*") if path.name in {"evil.js", "link"}]
    assert (folder / "index.html").exists()


def test_a_newer_version_takes_the_place_of_the_old(
    tmp_path: Path, install: Callable[[Path], Path]
) -> None:
    folder = install(package(tmp_path / "p.tgz", {**FILES, "package/dist/old.js": b"1"}))
    install(package(tmp_path / "p2.tgz"))
    assert not (folder / "old.js").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ohif", "p.tgz", "p2.tgz"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda data: data[:-20], Corrupt),
        (lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:], Corrupt),
    ],
)
def test_a_file_that_is_another_is_refused(
    tmp_path: Path, change: Callable[[bytes], bytes], error: type[Exception]
) -> None:
    path = package(tmp_path / "p.tgz")
    origin = origin_of(path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(error, match="hash"):
        unpack(path, origin, tmp_path / "ohif", lambda _: None)
    assert not (tmp_path / "ohif").exists()


def test_what_is_damaged_leaves_what_was_there(
    tmp_path: Path, install: Callable[[Path], Path]
) -> None:
    folder = install(package(tmp_path / "p.tgz"))
    path = package(tmp_path / "cut.tgz", {**FILES, "package/dist/big.js": bytes(100_000)})
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(Corrupt, match="damaged"):
        install(path)
    assert (folder / "index.html").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut.tgz", "ohif", "p.tgz"]


def test_what_is_no_ohif_is_refused(tmp_path: Path, install: Callable[[Path], Path]) -> None:
    files = {"package/dist/index.html": b"", "package/dist/app.js": b"1"}
    with pytest.raises(Invalid, match="no build of OHIF"):
        install(package(tmp_path / "p.tgz", files))


def test_a_folder_with_something_else_is_left_alone(
    tmp_path: Path, install: Callable[[Path], Path]
) -> None:
    (tmp_path / "ohif").mkdir()
    (tmp_path / "ohif" / "letter.txt").write_text("mine")
    with pytest.raises(Invalid, match="something else"):
        install(package(tmp_path / "p.tgz"))
    assert [path.name for path in (tmp_path / "ohif").iterdir()] == ["letter.txt"]


def npm(folder: Path, script: str) -> dict[str, str]:
    """Return an environment in which npm is `script`."""
    program = folder / "npm"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def test_npm_is_asked_for_the_version_at_the_registry_that_is_named(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environment = npm(tmp_path, 'echo "$@" > asked; echo > p.tgz')
    assert fetch(Origin("1.2.3", None), scratch, environment, "http://r/") == scratch / "p.tgz"
    asked = (scratch / "asked").read_text().split()
    assert asked == [
        *("pack", "@ohif/app@1.2.3", "--pack-destination", str(scratch), "--registry=http://r/")
    ]


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("npm error code ETARGET", Invalid),
        ("npm error code E404", Invalid),
        ("npm error network ECONNREFUSED", Temporary),
        ("no reason given", Temporary),
    ],
)
def test_what_npm_says_went_wrong_is_passed_on(
    tmp_path: Path, said: str, error: type[Exception]
) -> None:
    environment = npm(tmp_path, f"echo '{said}' >&2; exit 1")
    with pytest.raises(error, match=said.rpartition(" ")[2]):
        fetch(PINNED, tmp_path, environment)


def test_without_npm_the_way_with_a_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="--from"):
        fetch(PINNED, tmp_path, {"PATH": str(tmp_path)})


def test_a_version_is_no_way_to_fetch_something_else(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="not a version"):
        fetch(Origin("1 file:/etc", None), tmp_path, npm(tmp_path, "exit 1"))


def test_the_command_installs_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = package(tmp_path / "p.tgz")
    arguments = ["ohif", "install", "--version", "1.0.0", "--data-dir", str(tmp_path / "data")]
    for added, said in (["--from", str(path)], "/ohif"), ([], "already"):
        with pytest.raises(SystemExit) as exit_:
            main([*arguments, *added])
        assert exit_.value.code == 0
        assert said in capsys.readouterr().out
    assert installed(tmp_path / "data" / "ohif") == "1.0.0"


def test_a_folder_that_cannot_be_written_is_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = package(tmp_path / "p.tgz")
    arguments = ["--version", "1.0.0", "--from", str(path), "--folder", str(path / "below")]
    with pytest.raises(SystemExit) as exit_:
        main(["ohif", "install", *arguments])
    assert exit_.value.code == 1
    assert "cannot install OHIF" in capsys.readouterr().err
