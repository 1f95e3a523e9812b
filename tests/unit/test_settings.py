"""Settings: where they come from, which source wins, and what is said of wrong ones."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from hilum.config.cores import usable_cores
from hilum.config.loading import WrongSettings, load, setting_keys, variable_of
from hilum.config.masking import mask_credentials
from hilum.config.section import WITH_SECRETS
from hilum.config.settings import Settings
from tests.corpus import REPOSITORY


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def faults_of(environ: dict[str, str], config: Path | None = None, **flags: str) -> dict[str, str]:
    dotted = {name.replace("__", "."): value for name, value in flags.items()}
    with pytest.raises(WrongSettings) as wrong:
        load(environ, dotted, config)
    return dict(wrong.value.faults)


def test_defaults_are_those_of_the_contract(tmp_path: Path) -> None:
    settings = load({}).settings
    assert settings.aet == "HILUM"
    assert settings.bind == "127.0.0.1"
    assert settings.dicom.port == 4242
    assert settings.http.port == 8042
    assert settings.data_dir == tmp_path / "data"
    assert settings.mongodb.uri is None
    assert settings.mongodb.database == "hilum"
    assert settings.storage.conflict_policy == "replace"


def test_flags_win_over_variables_over_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('aet = "FILE"\nbind = "10.0.0.1"\n[dicom]\nport = 1\n[http]\nport = 2\n')
    environ = {"HILUM_AET": "ENV", "HILUM_DICOM_PORT": "11"}
    loaded = load(environ, {"dicom.port": "111", "http.port": None}, file)
    settings = loaded.settings
    assert (settings.dicom.port, settings.aet, settings.http.port) == (111, "ENV", 2)
    assert settings.bind == "10.0.0.1"
    assert loaded.origins[("dicom", "port")] == "--dicom-port"
    assert loaded.origins[("aet",)] == "HILUM_AET"
    assert loaded.origins[("http", "port")] == f"http.port in {file}"
    assert ("storage", "disk_reserve") not in loaded.origins


def test_file_is_found_by_variable_or_in_the_working_folder(tmp_path: Path) -> None:
    (tmp_path / "hilum.toml").write_text('aet = "HERE"\n')
    (tmp_path / "other.toml").write_text('aet = "NAMED"\n')
    assert load({}).settings.aet == "HERE"
    assert load({"HILUM_CONFIG": "other.toml"}).settings.aet == "NAMED"
    assert list(faults_of({"HILUM_CONFIG": "missing.toml"})) == ["missing.toml"]


def test_peers_are_json_in_a_variable_and_tables_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text('[dicom.peers.WORKSTATION]\nhost = "10.0.0.7"\nport = 11112\n')
    from_file = load({}, config=file).settings.dicom
    variable = {"HILUM_DICOM_PEERS": '{"WORKSTATION": {"host": "10.0.0.7", "port": 11112}}'}
    from_variable = load(variable).settings.dicom
    assert from_file == from_variable
    assert str(from_file.known_peers["WORKSTATION"]) == "WORKSTATION@10.0.0.7:11112"


def test_mongodb_uri_of_hosting_platforms_is_read_and_hilums_own_wins() -> None:
    platform = {"MONGODB_URI": "mongodb://platform/"}
    assert load(platform).settings.mongodb.uri == "mongodb://platform/"
    both = platform | {"HILUM_MONGODB_URI": "mongodb://own/"}
    assert load(both).settings.mongodb.uri == "mongodb://own/"


def test_an_empty_variable_counts_as_absent() -> None:
    assert load({"HILUM_MONGODB_URI": "", "HILUM_AET": ""}).settings.aet == "HILUM"


def test_every_fault_is_reported_at_once_under_its_authors_name(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text(
        'aet = "MUCH TOO LONG A TITLE"\n[dicom]\nport = 99999\nprt = 1\n'
        '[dicom.peers.WS]\nhost = "10.0.0.7"\n[storge]\nx = 1\n'
    )
    environ = {
        "HILUM_HTTP_PORT": "eighty",
        "HILUM_DICOM_PROT": "104",
        "HILUM_STORAGE_DISK_RESERVE": "lots",
        "MONGODB_URI": "mysql://root:secret@db/",
    }
    faults = faults_of(environ, file, bind="127.0.0")
    assert set(faults) == {
        f"aet in {file}",
        f"dicom.port in {file}",
        f"dicom.prt in {file}",
        f"dicom.peers in {file}",
        f"storge in {file}",
        "HILUM_HTTP_PORT",
        "HILUM_DICOM_PROT",
        "HILUM_STORAGE_DISK_RESERVE",
        "MONGODB_URI",
        "--bind",
    }
    assert "did you mean HILUM_DICOM_PORT?" in faults["HILUM_DICOM_PROT"]
    assert "did you mean dicom.port?" in faults[f"dicom.prt in {file}"]
    assert "did you mean storage?" in faults[f"storge in {file}"]
    assert faults[f"dicom.peers in {file}"].startswith("WS.port:")
    assert "secret" not in str(faults)


@pytest.mark.parametrize(
    ("environ", "name", "words"),
    [
        ({"HILUM_DICOM_PEERS": "{"}, "HILUM_DICOM_PEERS", "not JSON"),
        ({"HILUM_DICOM_PEERS": '{"A\\\\B": {"host": "h", "port": 1}}'}, "HILUM_DICOM_PEERS", "16"),
        ({"HILUM_DICOM_PORT": "8042"}, "settings", "are both 8042"),
        ({"HILUM_DICOM_KNOWN_CALLERS_ONLY": "true"}, "dicom", "nobody could call"),
        ({"HILUM_DICOM_PORT": "0"}, "HILUM_DICOM_PORT", "greater than or equal to 1"),
        ({"HILUM_BIND": "no such host"}, "HILUM_BIND", "not an IP address"),
        ({"HILUM_MONGODB_DATABASE": "a/b"}, "HILUM_MONGODB_DATABASE", "pattern"),
        ({"HILUM_LOG_LEVEL": "loud"}, "HILUM_LOG_LEVEL", "'debug'"),
        ({"HILUM_DICOM": '{"port": 1}'}, "HILUM_DICOM", "no such setting"),
    ],
)
def test_a_wrong_value_is_named(environ: dict[str, str], name: str, words: str) -> None:
    faults = faults_of(environ)
    assert list(faults) == [name]
    assert words in faults[name]


def test_a_section_that_is_no_table_is_named(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text("dicom = 104\n")
    assert faults_of({"HILUM_DICOM_PORT": "104"}, file) == {f"dicom in {file}": "must be a table"}


def test_a_file_that_is_not_toml_does_not_hide_other_faults(tmp_path: Path) -> None:
    file = tmp_path / "node.toml"
    file.write_text("aet = \n")
    faults = faults_of({"HILUM_DICOM_PORT": "x"}, file)
    assert set(faults) == {str(file), "HILUM_DICOM_PORT"}
    assert "line 1" in faults[str(file)]


def test_what_kubernetes_adds_beside_a_service_named_hilum_is_no_fault() -> None:
    environ = {
        "HILUM_SERVICE_HOST": "10.0.0.1",
        "HILUM_SERVICE_PORT": "4242",
        "HILUM_SERVICE_PORT_DICOM": "4242",
        "HILUM_PORT": "tcp://10.0.0.1:4242",
        "HILUM_PORT_4242_TCP": "tcp://10.0.0.1:4242",
        "HILUM_PORT_4242_TCP_ADDR": "10.0.0.1",
        "HILUM_DICOM_SERVICE_HOST": "10.0.0.1",
    }
    assert load(environ).settings == load({}).settings


@pytest.mark.parametrize(
    ("uri", "masked"),
    [
        ("mongodb://hilum:s3cret@db:27017/hilum", "mongodb://hilum:***@db:27017/hilum"),
        ("mongodb+srv://u:p%40ss@db/?tls=true", "mongodb+srv://u:***@db/?tls=true"),
        ("mongodb://db/?tlsCertificateKeyFilePassword=x&a=b",
         "mongodb://db/?tlsCertificateKeyFilePassword=***&a=b"),
        ("mongodb://%2Ftmp%2Fm.sock/?directConnection=true",) * 2,
        ("two: mongodb://a:b@c and http://d:e@f/",
         "two: mongodb://a:***@c and http://d:***@f/"),
    ],
)  # fmt: skip
def test_passwords_in_uris_are_masked(uri: str, masked: str) -> None:
    assert mask_credentials(uri) == masked


def test_settings_do_not_print_the_uri() -> None:
    environ = {"HILUM_MONGODB_URI": "mongodb://u:s3cret@db/"}
    assert "s3cret" not in repr(load(environ).settings)


def test_there_is_a_worker_for_each_core_that_may_be_used(tmp_path: Path) -> None:
    nproc = subprocess.run(["/usr/bin/nproc"], env={}, capture_output=True, check=True).stdout
    quota = tmp_path / "cpu.max"
    assert usable_cores(quota) == int(nproc)
    quota.write_text("max 100000\n")
    assert usable_cores(quota) == int(nproc)
    for granted, expected in {"50000": 1, "100000": 1, "10000000": int(nproc)}.items():
        quota.write_text(f"{granted} 100000\n")
        assert usable_cores(quota) == expected
    assert load({}).settings.workers == usable_cores()
    assert load({"HILUM_WORKERS": "3"}).settings.workers == 3
    assert list(faults_of({"HILUM_WORKERS": "0"})) == ["HILUM_WORKERS"]


def test_every_setting_is_described_and_documented() -> None:
    page = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
    for key in setting_keys():
        model: type = Settings
        for section in key[:-1]:
            model = model.model_fields[section].annotation  # type: ignore[attr-defined]
        assert model.model_fields[key[-1]].description, key  # type: ignore[attr-defined]
        assert f"`{'.'.join(key)}`" in page, key
        assert f"`{variable_of(key)}`" in page, key


def test_the_documented_defaults_are_the_defaults() -> None:
    page = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
    documented = dict(
        re.findall(r"^\| `[\w.]+` \| `(HILUM_\w+)` \| `([^`]+)` \|", page, re.MULTILINE)
    )
    # The last is the machine's: `test_there_is_a_worker_for_each_core_that_may_be_used`.
    unset = {
        "HILUM_DICOM_PEERS",
        "HILUM_EVENTS_WEBHOOKS",
        "HILUM_HTTP_CORS_ORIGINS",
        "HILUM_HTTP_OHIF_FOLDER",
        "HILUM_HTTP_USERS",
        "HILUM_HTTP_USER_CONTENT_TYPES",
        "HILUM_HTTP_USER_METADATA",
        "HILUM_MONGODB_URI",
        "HILUM_ROUTING_DESTINATIONS",
        "HILUM_ROUTING_RULES",
        "HILUM_ROUTING_SHADOW",
        "HILUM_RETENTION_MODALITIES",
        "HILUM_WORKERS",
    }
    assert documented.keys() | unset == {variable_of(key) for key in setting_keys()}
    assert load(documented).settings == load({}).settings


def test_no_setting_without_a_reader() -> None:
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for path in [
            *sorted((REPOSITORY / "hilum").glob("*.py")),
            *sorted((REPOSITORY / "hilum" / "cli").glob("*.py")),
        ]
    )
    for key in setting_keys():
        name = {"peers": "known_peers", "rules": "as_rules"}.get(key[-1], key[-1])
        attribute = ".".join((*key[:-1], name))
        read = re.search(rf"settings\.{re.escape(attribute)}\b", code)
        assert read, f"nothing reads {'.'.join(key)}"


def test_the_process_environment_is_left_alone() -> None:
    before = dict(os.environ)
    load({"HILUM_AET": "OTHER"})
    assert dict(os.environ) == before


def test_passwords_go_to_processes_of_the_node_and_nowhere_else() -> None:
    users = '{"backend": "s3cret"}'
    settings = load({"HILUM_HTTP_USERS": users}).settings
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in settings.model_dump_json()
    told = Settings.model_validate_json(settings.model_dump_json(context=WITH_SECRETS))
    assert told.http.users["backend"].get_secret_value() == "s3cret"


def test_a_wrong_user_is_named_without_the_password() -> None:
    with pytest.raises(WrongSettings) as caught:
        load({"HILUM_HTTP_USERS": '{"back:end": "s3cret"}'})
    assert "HILUM_HTTP_USERS" in str(caught.value)
    assert "s3cret" not in str(caught.value)


def test_retention_has_to_come_before_the_reserve() -> None:
    fault = faults_of({"HILUM_RETENTION_KEEP_FREE_BYTES": "512MiB"})
    assert "storage.disk_reserve" in str(fault)
    environ = {"HILUM_RETENTION_KEEP_FREE_BYTES": "2GiB", "HILUM_RETENTION_MODALITIES": "CR, DX"}
    rules = load(environ).settings.retention
    assert (rules.keep_free_bytes, rules.modalities) == (2 << 30, ("CR", "DX"))
    assert load({}).settings.retention.max_age_days == 0
