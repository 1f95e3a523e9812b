"""Signatures of webhooks: those who verify them by the documentation find them right."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from hilum.http.outgoing.client import retry_after_seconds
from hilum.http.outgoing.signing import signature, signing_key
from tests.corpus import REPOSITORY

PAGE = (REPOSITORY / "docs" / "http-api.md").read_text(encoding="utf-8")
BODY = '{"name": "Größe"}'.encode()


def snippet(language: str) -> str:
    section = PAGE.split("### Signatures")[1]
    found = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert found
    return found[1]


def by_python(headers: dict[str, str], body: bytes, secret: str) -> bool:
    scope: dict[str, Any] = {}
    exec(snippet("python"), scope)
    return bool(scope["is_authentic"](headers, body, secret))


def by_node(headers: dict[str, str], body: bytes, secret: str) -> bool:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node")
    arguments = f"{json.dumps(headers)}, Buffer.from({body.hex()!r}, 'hex'), {json.dumps(secret)}"
    script = f"{snippet('js')}\nconsole.log(isAuthentic({arguments}))"
    done = subprocess.run([node, "-e", script], capture_output=True, text=True, check=True)
    return done.stdout.strip() == "true"


def headers(secret: str, body: bytes, timestamp: int) -> dict[str, str]:
    return {
        "webhook-id": "webhook.b:1",
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(signing_key(secret), "webhook.b:1", timestamp, body),
    }


@pytest.mark.parametrize("verify", [by_python, by_node])
@pytest.mark.parametrize("secret", ["sësame", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
def test_the_documentation_verifies(
    verify: Callable[[dict[str, str], bytes, str], bool], secret: str
) -> None:
    now = int(time.time())
    sent = headers(secret, BODY, now)
    assert verify(sent, BODY, secret)
    assert not verify(sent, BODY + b" ", secret)
    assert not verify({**sent, "webhook-timestamp": str(now + 1)}, BODY, secret)
    assert not verify(headers(secret, BODY, now - 3600), BODY, secret)
    assert not verify(sent, BODY, "another")


def test_the_example_of_standard_webhooks() -> None:
    # From its specification, and its libraries' tests.
    key = signing_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_retry_after() -> None:
    assert retry_after_seconds("120") == 120
    assert retry_after_seconds("Sun, 06 Nov 1994 08:49:37 GMT") == 0
    assert (retry_after_seconds("Fri, 31 Dec 2100 23:59:59 GMT") or 0) > 1e9
    assert [retry_after_seconds(text) for text in (None, "", "soon", "-1", "1.5")] == [None] * 5
