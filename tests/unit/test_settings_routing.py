"""The settings of routing: what they mean, and what is said of wrong ones."""

import json
from pathlib import Path

import pytest

from hilum.cli.config import as_toml
from hilum.config.loading import WrongSettings, load
from hilum.config.routing import ConditionSettings
from hilum.core.routing import Moment, Rule
from hilum.index.consignments import TRAITS

GOOD = """
[dicom.peers.PACS]
host = "10.0.0.7"
port = 104

[routing]
shadow = ["OLD"]

[routing.destinations.OLD]
url = "https://old.example.org/dicom-web/"
username = "forwarder"
password = "secret-password"

[routing.destinations.CLOUD]
url = "https://cloud.example.org/v1"
headers = { X-Api-Key = "secret-key" }

[routing.rules.CT]
to = "PACS"
when = { modality = "CT", calling_ae_title = ["CT1", "CT2"] }

[routing.rules.REPORTS]
to = ["PACS", "CLOUD"]
on = "stable-study"
"""


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "node.toml"
    file.write_text(text)
    return file


def faults_of(tmp_path: Path, text: str) -> dict[str, list[str]]:
    file = written(tmp_path, text)
    with pytest.raises(WrongSettings) as wrong:
        load({}, config=file)
    faults: dict[str, list[str]] = {}
    for name, reason in wrong.value.faults:
        faults.setdefault(name.removesuffix(f" in {file}"), []).append(reason)
    return faults


def test_rules_are_read_with_their_defaults(tmp_path: Path) -> None:
    routing = load({}, config=written(tmp_path, GOOD)).settings.routing
    assert routing.as_rules == [
        Rule(
            "CT",
            Moment.ARRIVAL,
            ("PACS",),
            {"modality": ("CT",), "calling_ae_title": ("CT1", "CT2")},
        ),
        Rule("REPORTS", Moment.STABLE_STUDY, ("PACS", "CLOUD")),
    ]
    assert routing.destinations["OLD"].url == "https://old.example.org/dicom-web"


def test_variables_are_json_and_lists(tmp_path: Path) -> None:
    from_file = load({}, config=written(tmp_path, GOOD)).settings.routing
    from_variables = load(
        {
            "HILUM_DICOM_PEERS": '{"PACS": {"host": "10.0.0.7", "port": 104}}',
            "HILUM_ROUTING_SHADOW": "OLD",
            "HILUM_ROUTING_DESTINATIONS": json.dumps(
                {
                    "OLD": {
                        "url": "https://old.example.org/dicom-web",
                        "username": "forwarder",
                        "password": "secret-password",
                    },
                    "CLOUD": {
                        "url": "https://cloud.example.org/v1",
                        "headers": {"X-Api-Key": "secret-key"},
                    },
                }
            ),
            "HILUM_ROUTING_RULES": json.dumps(
                {
                    "CT": {
                        "to": "PACS",
                        "when": {"modality": "CT", "calling_ae_title": ["CT1", "CT2"]},
                    },
                    "REPORTS": {"to": ["PACS", "CLOUD"], "on": "stable-study"},
                }
            ),
        }
    ).settings.routing
    assert from_file == from_variables


def test_what_is_shown_can_be_read_and_holds_no_secret(tmp_path: Path) -> None:
    loaded = load({}, config=written(tmp_path, GOOD))
    shown = as_toml(loaded)
    assert "secret" not in shown
    again = load({}, config=written(tmp_path, shown)).settings.routing
    assert again.as_rules == loaded.settings.routing.as_rules


def test_a_modality_may_be_named_before_there_is_one(tmp_path: Path) -> None:
    text = '[routing]\nshadow = ["modality:OLD"]\n[routing.rules.CT]\nto = "modality:NEW"\n'
    settings = load({}, config=written(tmp_path, text)).settings.routing
    assert settings.shadow == ("modality:OLD",)
    assert [rule.destinations for rule in settings.as_rules] == [("modality:NEW",)]
    [reasons] = faults_of(tmp_path, '[routing]\nshadow = ["modality:"]\n').values()
    assert "neither" in reasons[0]


def test_a_condition_for_every_trait_and_no_other() -> None:
    assert set(ConditionSettings.model_fields) == set(TRAITS)


def test_every_fault_is_reported_at_once_with_its_place(tmp_path: Path) -> None:
    faults = faults_of(
        tmp_path,
        """
        [dicom.peers.PACS]
        host = "10.0.0.7"
        port = 104
        [routing]
        shadow = ["PACS", "NOBODY"]
        [routing.destinations.PACS]
        url = "https://forwarder:secret@old.example.org"
        [routing.destinations.HALF]
        url = "https://old.example.org/studies"
        [routing.destinations.USER]
        url = "https://old.example.org"
        username = "forwarder"
        [routing.rules.UNKNOWN]
        to = ["PACS", "ELSEWHERE"]
        [routing.rules.NEVER]
        to = "PACS"
        when = { modality = [], study_description = "*", color = "blue" }
        on = "monday"
        [routing.rules.NOBODY]
        to = []
        """,
    )
    places = {
        name: {reason.split(": ")[0] for reason in reasons} for name, reasons in faults.items()
    }
    assert places == {
        "routing.shadow": {"'NOBODY' is neither in dicom.peers nor in routing.destinations"},
        "routing.destinations": {"PACS", "PACS.url", "HALF.url", "USER"},
        "routing.rules": {
            "UNKNOWN.to",
            "NEVER.when.modality",
            "NEVER.when.study_description.0",
            "NEVER.when.color",
            "NEVER.on",
            "NOBODY.to",
        },
    }
    assert "secret" not in str(faults)


@pytest.mark.parametrize(
    ("more", "place", "words"),
    [
        ('[routing.rules.ALL]\nto = "OLD"\n', "routing.rules", "ALL: without effect"),
        (
            """[routing.rules.CT2]\nto = "PACS"
            when = { modality = "CT", calling_ae_title = ["CT1", "CT2"] }\n""",
            "routing.rules",
            "CT2: without effect: the same as CT",
        ),
        ('[routing.rules.X]\nto = ["CLOUD", "CLOUD"]\n', "routing.rules", "named twice"),
        (
            '[routing.destinations.X]\nurl = "http://a"\npassword = 5\n',
            "routing.destinations",
            "X.password: Input should be a valid string",
        ),
    ],
)
def test_what_has_no_effect_is_a_fault(tmp_path: Path, more: str, place: str, words: str) -> None:
    faults = faults_of(tmp_path, GOOD + more)
    assert list(faults) == [place]
    assert words in faults[place][0]
    assert "'5'" not in str(faults)


def test_peers_that_are_wrong_are_the_fault_that_is_told(tmp_path: Path) -> None:
    faults = faults_of(tmp_path, GOOD.replace("port = 104", "port = 0"))
    assert list(faults) == ["dicom.peers"]
