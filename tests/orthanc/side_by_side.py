"""A Hilum and an Orthanc that hold the same files, and the same request to both.

Two answers are the same if their status, their media type and their bodies are, once what
may differ has been taken out of the bodies. Use the module's own list for what differs always
and say the rest where it is compared.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.nodes import RunningNode
from tests.orthancs import RunningOrthanc

#: Members that no two servers agree on: moments, names of files, what was configured.
DIFFERS = frozenset({"LastUpdate", "ReceptionDate", "FileUuid", "Uuid", "IsStable"})

#: What Orthanc 1.12 tells of a resource, and 1.10 does not.
NEWER = ("Labels",)

_SECONDS = 60


@dataclass(frozen=True)
class Answer:
    """What a server has answered; `body` as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip()

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def told(self, differs: Collection[str] = ()) -> Any:
        """Return the body to compare: of JSON without the members that differ."""
        if self.media_type != "application/json":
            return self.body
        return without(self.json, DIFFERS | set(differs))


def without(value: Any, members: Collection[str]) -> Any:
    """Return a JSON value without these members, at any depth."""
    if isinstance(value, dict):
        return {k: without(v, members) for k, v in value.items() if k not in members}
    if isinstance(value, list):
        return [without(item, members) for item in value]
    return value


def in_order(value: Any) -> Any:
    """Return JSON with its lists sorted: where the order is not promised."""
    if isinstance(value, dict):
        return {key: in_order(member) for key, member in value.items()}
    if isinstance(value, list):
        return sorted((in_order(item) for item in value), key=repr)
    return value


def ask(
    url: str, path: str, method: str = "GET", body: bytes | str | Any = None, **headers: str
) -> Answer:
    """Send one request; `body` may be bytes, text, or whatever becomes JSON."""
    if body is not None and not isinstance(body, bytes):
        body = (body if isinstance(body, str) else json.dumps(body)).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(f"{url}{path}", body, named, method=method)
    # urllib would call any body a form, which Orthanc takes apart.
    request.headers.setdefault("Content-type", "application/octet-stream")
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:
            return _answer(answer.status, answer)
    except urllib.error.HTTPError as error:
        return _answer(error.code, error)


def _answer(status: int, answer: Any) -> Answer:
    found = {name.lower(): value for name, value in answer.headers.items()}
    return Answer(status, found, answer.read())


@dataclass(frozen=True)
class SideBySide:
    """Both servers, with the same files in them."""

    hilum: RunningNode
    orthanc: RunningOrthanc

    def store(self, files: Sequence[Path]) -> None:
        """Store files in both; those that Orthanc refuses are refused here."""
        for path in files:
            ours, theirs = self.both("/instances", "POST", path.read_bytes())
            assert ours.status == theirs.status, (path, ours, theirs)

    def both(
        self, path: str, method: str = "GET", body: Any = None, **headers: str
    ) -> tuple[Answer, Answer]:
        """Send a request to both: Hilum's answer, Orthanc's answer."""
        return (
            ask(self.hilum.http_url, path, method, body, **headers),
            ask(self.orthanc.http_url, path, method, body, **headers),
        )

    def ids(self, level: str) -> list[str]:
        """Return the public ids of all ``patients``, ``studies``, ``series``, ``instances``."""
        found: list[str] = ask(self.orthanc.http_url, f"/{level}").json
        return sorted(found)

    def same(
        self,
        path: str,
        method: str = "GET",
        body: Any = None,
        *,
        differs: Collection[str] = (),
        key: Callable[[Any], Any] | None = None,
    ) -> Any:
        """Assert that both answer the same, and return what they answer.

        Parameters
        ----------
        differs
            Members of JSON bodies, at any depth, that are not compared.
        key
            Makes of a body what is compared, e.g. `sorted` where no order is promised.
        """
        ours, theirs = self.both(path, method, body)
        assert (ours.status, ours.media_type) == (theirs.status, theirs.media_type), (path, ours)
        key = key or (lambda value: value)
        mine, wanted = key(ours.told(differs)), key(theirs.told(differs))
        if isinstance(mine, list) and isinstance(wanted, list):
            # Of a long list, what is wrong with it.
            ours_alone = [each for each in mine if each not in wanted]
            theirs_alone = [each for each in wanted if each not in mine]
            assert ours_alone == theirs_alone, path
        assert mine == wanted, path
        return ours.told(differs)

    def refused(self, path: str, method: str = "GET", body: Any = None) -> int:
        """Assert that both refuse a request alike, and return the status.

        Orthanc's errors name no media type, and have no body where a resource is not there.
        """
        ours, theirs = self.both(path, method, body)
        assert ours.status == theirs.status >= 400, (path, ours, theirs)
        if theirs.body:
            wanted = without(json.loads(theirs.body), {"Details"})
            assert without(ours.json, {"Details"}) == wanted, path
        elif ours.body:
            assert ours.json["HttpStatus"] == ours.status
        return ours.status
