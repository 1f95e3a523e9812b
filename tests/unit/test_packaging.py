"""What ships the node: image, compose file, Makefile. No engine here: facts are checked."""

import http.server
import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml

from hilum.config.loading import FILE_VARIABLE, load, setting_keys, variable_of
from tests.corpus import REPOSITORY

KNOWN = {variable_of(key) for key in setting_keys()} | {FILE_VARIABLE}


def text(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions of the last stage, in order."""
    joined = re.sub(r"\\\n\s*", " ", text("Dockerfile"))
    lines = [line.partition(" ") for line in joined.splitlines() if re.match(r"[A-Z]+ ", line)]
    last = max(index for index, line in enumerate(lines) if line[0] == "FROM")
    return [(word, rest) for word, _, rest in lines[last:]]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load(text("compose.yaml"))
    return document


def test_image_is_slim_and_runs_as_nobody_special(instructions: list[tuple[str, str]]) -> None:
    words = [word for word, _ in instructions]
    assert "slim" in dict(instructions)["FROM"]
    user = dict(instructions)["USER"]
    assert int(user.partition(":")[0]) > 0
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert words.index("RUN") < words.index("USER")


def test_image_has_no_mongod_and_no_development_tools() -> None:
    installed = re.findall(r"pip install (.*)", text("Dockerfile"))
    assert installed
    assert not any(extra in line for line in installed for extra in ("embedded", "dev", "["))


def test_image_sets_and_exposes_what_the_settings_say(
    instructions: list[tuple[str, str]],
) -> None:
    settings = load({}).settings
    assert dict(instructions)["EXPOSE"] == f"{settings.dicom.port} {settings.http.port}"
    assert dict(instructions)["STOPSIGNAL"] == "SIGTERM"
    environment = dict(
        pair.split("=", 1)
        for word, rest in instructions
        if word == "ENV"
        for pair in shlex.split(rest)
    )
    hilum = {name: value for name, value in environment.items() if name.startswith("HILUM_")}
    loaded = load(hilum).settings
    assert str(loaded.data_dir) == dict(instructions)["VOLUME"]
    assert loaded.log.format == "json"


@contextmanager
def answering(status: int) -> Iterator[int]:
    """An HTTP server that answers everything with `status`; gives its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_the_healthcheck_asks_the_node(
    instructions: list[tuple[str, str]], status: int, healthy: bool
) -> None:
    command = json.loads(dict(instructions)["HEALTHCHECK"].partition("CMD ")[2])
    assert command[0] == "python"
    with answering(status) as port:
        done = subprocess.run(
            [sys.executable, *command[1:]],
            env=os.environ | {"HILUM_HTTP_PORT": str(port)},
            capture_output=True,
            check=False,
        )
    assert (done.returncode == 0) is healthy


def test_the_builder_gets_all_it_copies_and_no_data() -> None:
    sent = {line[1:].rstrip("/") for line in text(".dockerignore").splitlines() if line[:1] == "!"}
    copied = re.findall(r"^COPY (?!--from)(\S+)", text("Dockerfile"), re.MULTILINE)
    assert set(copied) == sent
    assert text(".dockerignore").splitlines()[1] == "*"


def test_hadolint_finds_nothing() -> None:
    hadolint = REPOSITORY / ".venv" / "bin" / "hadolint"
    program = str(hadolint) if hadolint.exists() else "hadolint"
    done = subprocess.run(
        [program, "Dockerfile"], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_compose_waits_restarts_and_keeps(compose: dict[str, Any]) -> None:
    node, mongo = compose["services"]["node"], compose["services"]["mongo"]
    assert node["depends_on"]["mongo"]["condition"] == "service_healthy"
    assert mongo["healthcheck"]["test"][0] == "CMD"
    kept = set(compose["volumes"])
    for service in (node, mongo):
        assert service["restart"] == "unless-stopped"
        assert {volume.partition(":")[0] for volume in service["volumes"]} <= kept
    assert "images:/data" in node["volumes"]
    assert not any(str(port).endswith(":27017") for port in mongo.get("ports", []))


def test_compose_sets_only_what_exists(compose: dict[str, Any]) -> None:
    environment = compose["services"]["node"]["environment"]
    assert set(environment) <= KNOWN
    # As the node will see it: nothing exported but the password.
    seen = {
        name: re.sub(
            r"\$\{(\w+)(?::([-?])([^}]*))?\}",
            lambda match: "pw" if match[2] == "?" else match[3] or "",
            value,
        )
        for name, value in environment.items()
    }
    assert load(seen).settings.mongodb.uri == "mongodb://hilum:pw@mongo:27017/?authSource=admin"


def test_every_variable_named_in_the_docs_exists() -> None:
    pages = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
    for page in pages:
        named = set(re.findall(r"\bHILUM_[A-Z_]+\b", page.read_text(encoding="utf-8")))
        # A variable of compose.yaml, one of Kubernetes, and the prefix on its own.
        assert named <= KNOWN | {"HILUM_MONGODB_PASSWORD", "HILUM_PORT", "HILUM_"}, page


def test_ci_runs_what_people_run() -> None:
    assert os.access(REPOSITORY / ".ci" / "run", os.X_OK)
    assert "make test" in text(".ci/run")


@pytest.mark.parametrize("script", ["setup-venv.sh", "setup-debian.sh"])
def test_setup_scripts_are_plain_sh(script: str) -> None:
    path = REPOSITORY / "scripts" / script
    subprocess.run(["sh", "-n", path], check=True)


def test_a_missing_program_is_named(tmp_path: Any) -> None:
    """As an ordinary user on a bare machine: the script says what to install."""
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "id").chmod(0o755)
    script = text("scripts/setup-debian.sh").replace("/usr/bin/storescu", "/nowhere/storescu")
    done = subprocess.run(
        ["sh", "-s", "test"],
        input=script,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "sudo apt-get install" in done.stderr
    assert "dcmtk" in done.stderr
