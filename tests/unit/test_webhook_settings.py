"""Webhooks in the settings: what is right, what is refused, and what is never shown."""

import json
from pathlib import Path

import pytest

from hilum.cli.config import as_toml
from hilum.config.events import shown_url
from hilum.config.loading import Loaded, WrongSettings, load
from hilum.core.events import Kind

SECRETS = ("s3cret", "t0ken", "b3arer", "p4ssword")


def loaded(**webhook: object) -> Loaded:
    return load({"HILUM_EVENTS_WEBHOOKS": json.dumps({"backend": webhook})})


def fault(**webhook: object) -> str:
    with pytest.raises(WrongSettings) as caught:
        loaded(**webhook)
    assert not any(secret in str(caught.value) for secret in SECRETS)
    return str(caught.value)


def test_a_table_of_the_file_and_the_variable_say_the_same(tmp_path: Path) -> None:
    file = tmp_path / "hilum.toml"
    file.write_text(
        '[events.webhooks.backend]\nurl = "https://backend/hook"\nkinds = ["stable-study"]\n'
        'secret = "s3cret"\nheaders = { Authorization = "Bearer b3arer" }\n'
    )
    from_file = load({}, config=file).settings
    same = loaded(
        url="https://backend/hook",
        kinds=["stable-study"],
        secret="s3cret",
        headers={"Authorization": "Bearer b3arer"},
    ).settings
    assert from_file.events == same.events
    webhook = same.events.webhooks["backend"]
    assert webhook.wanted == {Kind.STABLE_STUDY}
    assert webhook.headers["Authorization"].get_secret_value() == "Bearer b3arer"


def test_all_kinds_unless_some_are_named() -> None:
    assert loaded(url="http://b").settings.events.webhooks["backend"].wanted == set(Kind)


def test_nothing_secret_is_shown_and_what_is_shown_is_toml() -> None:
    import tomllib

    every = loaded(
        url="https://user:p4ssword@backend/hook?token=t0ken",
        secret="s3cret",
        headers={"Authorization": "Bearer b3arer"},
    )
    shown = as_toml(every)
    assert not any(secret in shown + repr(every.settings) for secret in SECRETS)
    webhook = tomllib.loads(shown)["events"]["webhooks"]["backend"]
    assert webhook["url"] == "https://user:***@backend/hook?token=***"
    assert "secret" not in tomllib.loads(as_toml(loaded(url="http://b")))["events"]["webhooks"]
    assert shown_url("http://backend/hook#part") == "http://backend/hook"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"url": "ftp://user:p4ssword@backend"}, "backend.url: not a URL"),
        ({"url": "https://back end/?t=t0ken"}, "backend.url: not a URL"),
        ({"url": "http://b", "kinds": ["new-scan"]}, "backend.kinds.0"),
        ({"url": "http://b", "secret": ""}, "backend.secret: must not be empty"),
        ({"url": "http://b", "secret": "whsec_s3cret!"}, "backend.secret: what follows whsec_"),
        ({"url": "http://b", "secret": ["s3cret"]}, "backend.secret"),
        ({"url": "http://b", "headers": {"Webhook-Id": "t0ken"}}, "is for the node to set"),
        ({"url": "http://b", "headers": {"X": "b3arer\r\nY: 1"}}, "printable ASCII"),
        ({"url": "http://b", "timeout_seconds": 0}, "backend.timeout_seconds"),
        ({"url": "http://b", "format": "xml"}, "backend.format"),
        ({"url": "http://b", "uri": "http://c"}, "backend.uri"),
        ({"kinds": ["deleted"]}, "backend.url"),
    ],
)
def test_what_is_wrong_is_named_without_secrets(wrong: dict[str, object], said: str) -> None:
    assert "HILUM_EVENTS_WEBHOOKS" in fault(**wrong)
    assert said in fault(**wrong)


def test_a_name_is_fit_for_an_identifier() -> None:
    with pytest.raises(WrongSettings, match="HILUM_EVENTS_WEBHOOKS"):
        load({"HILUM_EVENTS_WEBHOOKS": '{"back:end": {"url": "http://b"}}'})
