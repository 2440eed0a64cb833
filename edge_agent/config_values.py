"""Words of the configuration that mean something: hours, addresses of streams, keys.

What is refused here never ends a daemon: it goes on with what it has. Each check raises ValueError with a
sentence that does not repeat the value where it may hold a password.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Annotated
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, SecretStr

KEY_BYTES = 32  # X25519 and Ed25519 alike
_KEY_TYPES = (1, 4)  # of C2SP signed-note: Ed25519, cosignature/v1
_SPAN = re.compile(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-4]):[0-5]\d")


def _zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"no such time zone {value!r}; use a name such as Asia/Kolkata") from error
    return value


def _hours(value: tuple[str, ...]) -> tuple[str, ...]:
    for span in value:
        if not _SPAN.fullmatch(span):
            raise ValueError(f"{span!r} is not HH:MM-HH:MM")
    return value


def _stream_url(value: SecretStr) -> SecretStr:
    text = value.get_secret_value()
    try:
        parts = urlsplit(text)
        good = parts.scheme == "rtsp" and parts.hostname and (parts.port is None or parts.port)
    except ValueError as error:
        raise ValueError("not an RTSP URL; encode @ : / # ? in passwords") from error
    if text and not good:
        raise ValueError("must be rtsp://[user:password@]host[:port]/path")
    return value


def _public_key(value: str) -> str:
    if (length := len(_from_base64(value))) != KEY_BYTES:
        raise ValueError(f"a public key has {KEY_BYTES} bytes, this one {length}")
    return value


def _verifier_key(value: str) -> str:
    """A C2SP vkey: `name+keyid+material`; the key id is a hash of the rest, so a slip of the pen shows."""
    if not value:
        return value
    name, _, rest = value.partition("+")
    key_id, _, material = rest.partition("+")
    raw = _from_base64(material)
    if not name or len(raw) != 1 + KEY_BYTES or raw[0] not in _KEY_TYPES:
        raise ValueError("not a verifier key of the form name+keyid+material")
    if hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4].hex() != key_id:
        raise ValueError(f"the key id {key_id!r} does not belong to this key; was it copied whole?")
    return value


def _from_base64(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError("not base64; was it copied whole?") from error


Zone = Annotated[str, AfterValidator(_zone)]
Hours = Annotated[tuple[str, ...], AfterValidator(_hours)]  # HH:MM-HH:MM, may cross midnight
StreamUrl = Annotated[SecretStr, AfterValidator(_stream_url)]  # rtsp://user:password@host/path, or empty
PublicKey = Annotated[str, AfterValidator(_public_key)]  # base64 of 32 bytes
VerifierKey = Annotated[str, AfterValidator(_verifier_key)]
Latitude = Annotated[float, Field(ge=-90, le=90)]
Longitude = Annotated[float, Field(ge=-180, le=180)]
