"""Which of the forms a resource can have a client wants: Accept, read as PS3.18 8.7 has it.

A range of the header names a media type, or ``multipart/related`` and in its parameter
``type`` the media type of the parts, and may name a transfer syntax: a UID, or ``*`` for
any. What is offered is a list of `Form`, the node's favourite first.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from aiohttp import web

ANY: Final = "*"
ANYTHING: Final = "*/*"
MULTIPART: Final = "multipart/related"
DICOM: Final = "application/dicom"
OCTET_STREAM: Final = "application/octet-stream"

#: Names that were in use before a media type was registered, or are mistaken for it.
_ALIASES: Final = {
    "image/x-dicom-rle": "image/dicom-rle",
    "image/x-jls": "image/jls",
    "image/x-j2c": "image/jp2",
    "image/j2c": "image/jp2",
    "image/jpg": "image/jpeg",
    "video/mpeg2": "video/mpeg",
}
_LETTER: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]"
_WORD: Final = rf"{_LETTER}+"
_TYPE: Final = re.compile(rf"\s*({_WORD}/{_WORD})\s*")
# A value that is no token should be quoted; a media type often is not.
_PARAMETER: Final = re.compile(
    # Looked for at the beginning of a word alone, or a long one would take its square in time.
    rf"""(?<!{_LETTER})({_WORD})\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))\s*""",
    re.DOTALL,
)
_QUALITY: Final = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")
_LONGEST: Final = 8192


@dataclass(frozen=True, slots=True)
class Form:
    """A way a resource can be answered."""

    media_type: str
    """Of the whole answer, or of each of its parts."""
    transfer_syntax_uid: str = ""
    multipart: bool = False
    default: bool = True
    """Whether a range that names no transfer syntax means this one."""


@dataclass(frozen=True, slots=True)
class Range:
    """One element of an Accept header."""

    media_type: str
    """Of the parts, if `multipart`."""
    multipart: bool | None = None
    """None: either, for the range was ``*/*``."""
    transfer_syntax_uid: str = ""
    quality: float = 1.0

    def takes(self, form: Form) -> bool:
        """Return whether `form` is within this range."""
        if self.multipart is not None and self.multipart != form.multipart:
            return False
        wanted = self.transfer_syntax_uid
        if self.media_type == OCTET_STREAM and wanted in {ANY, form.transfer_syntax_uid} - {""}:
            return True  # bytes of any kind: so viewers ask for frames as they are stored
        if not _within(form.media_type, self.media_type):
            return False
        return wanted in {ANY, form.transfer_syntax_uid} if wanted else form.default

    @property
    def precision(self) -> tuple[bool, int, bool]:
        """How narrow the range is: of several that take a form, the narrowest counts."""
        wildcards = self.media_type.count(ANY)
        return self.multipart is not None, -wildcards, self.transfer_syntax_uid not in {"", ANY}


@lru_cache(maxsize=256)  # a viewer says the same with each of its thousand requests
def parse_accept(text: str) -> tuple[Range, ...]:
    """Return the ranges of an Accept header, in its order; what is malformed is left out."""
    ranges = []
    for element in _split(text[:_LONGEST]):
        match = _TYPE.match(element)
        if match is None:
            continue
        ranges.append(_range(match[1].lower(), _parameters(element[match.end() :])))
    return tuple(ranges)


def accepted(request: web.Request) -> tuple[tuple[Range, ...], ...]:
    """Return what the client accepts: by its parameter ``accept``, and by its header.

    References
    ----------
    PS3.18 8.3.3.1, 8.7.5
    """
    header = ",".join(request.headers.getall("Accept", ())) or ANYTHING
    parameter = ",".join(request.query.getall("accept", ()))
    return tuple(parse_accept(text) for text in (parameter, header) if text.strip())


def choose(accepts: Iterable[Sequence[Range]], forms: Sequence[Form]) -> Form | None:
    """Return the form that the client likes best, the earlier one of equals; None if there is none.

    Parameters
    ----------
    accepts
        From `accepted`: the first that takes any form at all decides.
    forms
        What can be had, the node's favourite first.
    """
    for ranges in accepts:
        best = max(forms, key=lambda form: _quality(ranges, form), default=None)
        if best is not None and _quality(ranges, best) > 0:
            return best
    return None


def not_acceptable(forms: Iterable[Form]) -> web.HTTPNotAcceptable:
    """Return the refusal of a request that takes none of `forms`."""
    names = dict.fromkeys(content_type(form) for form in forms)
    return web.HTTPNotAcceptable(text=f"only to be had as {' or '.join(names)}")


def content_type(form: Form) -> str:
    """Return the Content-Type of a part, or of a whole answer that is no multipart."""
    if form.transfer_syntax_uid:
        return f"{form.media_type}; transfer-syntax={form.transfer_syntax_uid}"
    return form.media_type


def _quality(ranges: Sequence[Range], form: Form) -> float:
    taking = [each for each in ranges if each.takes(form)]
    if not taking:
        return 0.0
    narrowest = max(each.precision for each in taking)
    return max(each.quality for each in taking if each.precision == narrowest)


def _parameters(text: str) -> dict[str, str]:
    return {
        found[1].lower(): _unescaped(found[2]) if found[3] is None else found[3]
        for found in _PARAMETER.finditer(text)
    }


def _range(media_type: str, parameters: dict[str, str]) -> Range:
    transfer_syntax = parameters.get("transfer-syntax", "").strip()
    quality = parameters.get("q", "1").strip()
    multipart: bool | None = False
    if media_type == ANYTHING:
        multipart = None
    elif media_type in {MULTIPART, "multipart/*"}:
        multipart = True
        media_type, _, within = parameters.get("type", ANYTHING).partition(";")
        media_type = media_type.strip().lower()
        # Some write the parts' parameters with their type, into the quotes.
        transfer_syntax = transfer_syntax or _parameters(within).get("transfer-syntax", "")
    return Range(
        media_type=_ALIASES.get(media_type, media_type),
        multipart=multipart,
        transfer_syntax_uid=transfer_syntax,
        quality=float(quality) if _QUALITY.fullmatch(quality) else 1.0,
    )


def _within(media_type: str, allowed: str) -> bool:
    if allowed in {ANYTHING, media_type}:
        return True
    # Some write "image/" for "image/*".
    return allowed.endswith(("/*", "/")) and media_type.startswith(allowed.rstrip(ANY))


def _split(text: str) -> list[str]:
    """Return the elements of a list, at the commas that are not within quotes."""
    elements = []
    start = 0
    quoted = False
    position = 0
    while position < len(text):
        character = text[position]
        if quoted and character == "\\":
            position += 1
        elif character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            elements.append(text[start:position])
            start = position + 1
        position += 1
    return [*elements, text[start:]]


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)
