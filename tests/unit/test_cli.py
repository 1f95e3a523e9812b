"""The command line without a node: what it says, and the status it exits with."""

import tomllib
from pathlib import Path

import pytest

from hilum import __version__
from hilum.cli import main
from hilum.cli.files import find_files, has_dicom_prefix
from hilum.cli.options import parse_target
from hilum.cli.serve import banner
from hilum.config.loading import load
from tests.nodes import free_port


@pytest.fixture(autouse=True)
def _bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("MONGODB_URI", raising=False)


def run(*arguments: str) -> int:
    """Run the program; return its exit status."""
    with pytest.raises(SystemExit) as leaving:
        main(arguments)
    return int(leaving.value.code or 0)


def test_version_and_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert __version__ in capsys.readouterr().out
    assert run("--help") == 0
    text = capsys.readouterr().out
    for command in (
        "serve",
        "echo",
        "send",
        "demo",
        "import",
        "migrate",
        "compare",
        "verify",
        "reindex",
        "config",
        "ohif",
    ):
        assert f" {command} " in text


@pytest.mark.usefixtures("logging_as_it_was")
@pytest.mark.parametrize("command", [("verify",), ("reindex",)])
def test_a_folder_that_was_misspelt_is_not_found_to_be_in_order(
    command: tuple[str, ...], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert run(*command, "--data-dir", str(tmp_path / "dta")) == 1
    assert "there is no store" in capsys.readouterr().err
    assert not (tmp_path / "dta").exists()


def test_serve_takes_the_flags_of_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("serve", "--help") == 0
    text = capsys.readouterr().out
    for flag in (
        "--config", "--data-dir", "--aet", "--bind", "--dicom-port", "--http-port", "--mongodb-uri"
    ):  # fmt: skip
        assert flag in text


def test_config_prints_toml_that_gives_the_same_settings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HILUM_AET", "ECHO")
    monkeypatch.setenv("HILUM_DICOM_PEERS", '{"WS 1": {"host": "10.0.0.7", "port": 11112}}')
    monkeypatch.setenv("HILUM_STORAGE_DISK_RESERVE", "2GiB")
    assert run("config") == 0
    printed = capsys.readouterr().out
    assert "# HILUM_AET" in printed
    assert tomllib.loads(printed)["storage"]["disk_reserve"] == 2 * 1024**3
    file = tmp_path / "again.toml"
    file.write_text(printed, encoding="utf-8")
    environ = {
        "HILUM_AET": "ECHO",
        "HILUM_DICOM_PEERS": '{"WS 1": {"host": "10.0.0.7", "port": 11112}}',
        "HILUM_STORAGE_DISK_RESERVE": "2GiB",
    }
    assert load({}, config=file).settings == load(environ).settings


def test_config_masks_the_password(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MONGODB_URI", "mongodb://hilum:s3cret@db/")
    assert run("config") == 0
    printed = capsys.readouterr().out
    assert "s3cret" not in printed
    assert "mongodb://hilum:***@db/" in printed
    assert "# MONGODB_URI" in printed


def test_wrong_settings_are_all_told_before_anything_starts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HILUM_HTTP_PORT", "eighty")
    monkeypatch.setenv("HILUM_DICOM_PROT", "104")
    assert run("serve", "--dicom-port", "none", "--data-dir", "new") == 2
    said = capsys.readouterr()
    for name in ("HILUM_HTTP_PORT", "HILUM_DICOM_PROT", "--dicom-port"):
        assert name in said.err
    assert "Traceback" not in said.err
    assert said.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("HILUM@127.0.0.1:4242", ("HILUM", "127.0.0.1", 4242)),
        ("MY PACS@pacs.example.org:104", ("MY PACS", "pacs.example.org", 104)),
        ("HILUM@[::1]:4242", ("HILUM", "::1", 4242)),
    ],
)
def test_a_target_is_a_title_a_host_and_a_port(text: str, expected: tuple[str, str, int]) -> None:
    peer = parse_target(text)
    assert (peer.ae_title, peer.host, peer.port) == expected


@pytest.mark.parametrize(
    "text",
    ["", "HILUM", "HILUM@host", "host:104", "HILUM@:104", "HILUM@host:0", "HILUM@host:65536",
     "HILUM@host:port", "@host:104", "A TITLE OF SEVENTEEN@host:104"],
)  # fmt: skip
def test_what_is_no_target_is_a_usage_fault(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("echo", text) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_a_path_that_is_not_there_is_a_usage_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("send", "HILUM@127.0.0.1:4242", "nowhere") == 2
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["echo", "demo"])
def test_a_peer_that_is_not_there_costs_one_line(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command, f"HILUM@127.0.0.1:{free_port()}") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot be reached: Connection refused" in line


def test_files_are_found_in_order_and_dicom_is_told_apart(tmp_path: Path) -> None:
    folder = tmp_path / "study"
    (folder / "b").mkdir(parents=True)
    for name in ("b/2.dcm", "b/1.dcm", "a.dcm", "DICOMDIR", "readme.txt"):
        (folder / name).write_bytes(bytes(128) + b"DICM" if name != "readme.txt" else b"hello")
    found = list(find_files([folder / "readme.txt", folder]))
    assert [str(path.relative_to(folder)) for path in found] == [
        "readme.txt", "DICOMDIR", "a.dcm", "readme.txt", "b/1.dcm", "b/2.dcm",
    ]  # fmt: skip
    assert [path.name for path in found if has_dicom_prefix(path)] == ["a.dcm", "1.dcm", "2.dcm"]


def test_the_banner_says_where_and_how() -> None:
    settings = load({"HILUM_DICOM_PORT": "104", "HILUM_HTTP_PORT": "80"}).settings
    text = banner(settings)
    assert "HILUM@127.0.0.1:104" in text
    assert "http://127.0.0.1:80/" in text
    assert str(settings.data_dir) in text
    assert "demo HILUM@127.0.0.1:104" in text
    assert "storescu -aec HILUM +sd +r 127.0.0.1 104 FOLDER" in text


def test_the_banner_of_a_node_that_listens_everywhere_names_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "pacs")
    assert "HILUM@pacs:4242" in banner(load({"HILUM_BIND": "0.0.0.0"}).settings)
    assert "http://[::1]:8042/" in banner(load({"HILUM_BIND": "::1"}).settings)
