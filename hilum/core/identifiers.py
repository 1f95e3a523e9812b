"""Identifiers: UIDs, AE titles, digests and Orthanc-compatible public ids.

Everything that comes from a stranger and may end in a path, a log line or a database
key passes through here first.
"""

import hashlib
import re
from typing import Final

from hilum.core.errors import Invalid

# PS3.5 9.1 allows digits and dots. Equipment in the field also sends letters, hyphens
# and leading zeros; none of them is dangerous, and refusing an image is.
_UID: Final = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,63}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
# PS3.5 6.2, VR AE: the default repertoire without backslash and control characters.
_AE_TITLE: Final = re.compile(r"[\x20-\x5b\x5d-\x7e]{1,16}")


def parse_uid(text: str, what: str = "UID") -> str:
    """Return `text` without its padding, checked to be usable as a UID.

    Parameters
    ----------
    text
        As received: a trailing NUL or blanks are padding (PS3.5 9.1).
    what
        Name of the attribute, for the message.

    Raises
    ------
    Invalid
        The value is empty, longer than 64 characters, or has a character that could
        not be part of any UID, such as ``/``.
    """
    uid = text.strip(" \0\t\r\n")
    if not _UID.fullmatch(uid):
        raise Invalid(f"{what} is not a UID: {uid[:80]!r}")
    return uid


def is_uid(text: str) -> bool:
    """Whether `text`, without padding, is usable as a UID."""
    return _UID.fullmatch(text) is not None


def parse_ae_title(text: str, what: str = "AE title") -> str:
    """Return `text` without insignificant blanks (PS3.5 6.2, VR AE).

    Raises
    ------
    Invalid
        The value is empty, longer than 16 characters, or not printable ASCII.
    """
    title = text.strip(" ")
    if not _AE_TITLE.fullmatch(title):
        raise Invalid(f"{what} is not an AE title: {title[:40]!r}")
    return title


def parse_digest(text: str) -> str:
    """Return `text` if it is a SHA-256 in lower-case hexadecimal.

    Raises
    ------
    Invalid
        It is anything else.
    """
    if not _DIGEST.fullmatch(text):
        raise Invalid(f"not a SHA-256 digest: {text[:80]!r}")
    return text


def public_id(*identifiers: str) -> str:
    """Return the id Orthanc gives a resource: SHA-1 over its identifiers, in five groups.

    Parameters
    ----------
    identifiers
        Patient ID, then Study, Series and SOP Instance UID as far down as the resource
        lies, to the character; a missing Patient ID is empty.
    """
    text = "|".join(identifiers)
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    return "-".join(digest[i : i + 8] for i in range(0, 40, 8))
