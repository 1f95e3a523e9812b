"""Masking of what must not be shown: credentials in URIs."""

import re
from typing import Final

MASK: Final = "***"
_USER_INFO: Final = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://[^\s:/?#@]*):[^\s/?#@]*@")
# Options of a MongoDB URI whose values are secrets.
_SECRET_OPTION: Final = re.compile(
    r"(?P<name>[?&](?:authMechanismProperties|tlsCertificateKeyFilePassword)=)[^&\s]*",
    re.IGNORECASE,
)


def mask_credentials(text: str) -> str:
    """Return `text` with the password of every URI in it replaced by ``***``."""
    if "://" not in text:
        return text
    text = _USER_INFO.sub(rf"\g<scheme>:{MASK}@", text)
    return _SECRET_OPTION.sub(rf"\g<name>{MASK}", text)
