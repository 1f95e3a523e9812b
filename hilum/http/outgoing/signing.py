"""Signatures of webhooks, in the manner of Standard Webhooks 1.0.

``webhook-signature`` is ``v1,`` and the Base64 of the HMAC-SHA256 over
``{webhook-id}.{webhook-timestamp}.{body}``. The secret is text as it stands, or, behind
``whsec_``, bytes in Base64.
"""

import base64
import hashlib
import hmac
from typing import Final

_PREFIX: Final = "whsec_"


def signing_key(secret: str) -> bytes:
    """Return the key that a secret stands for."""
    if secret.startswith(_PREFIX):
        return base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    return secret.encode()


def signature(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the value of ``webhook-signature``.

    Parameters
    ----------
    timestamp
        Seconds since 1970, as in ``webhook-timestamp``.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
