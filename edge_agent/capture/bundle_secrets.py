"""Known secrets in text, however they are written there: found to be replaced, and searched for once more.

Two ways that share nothing but the question. `pattern` matches a secret character by character, each plain,
percent-encoded, as an XML reference or a JSON escape. `betrayed` decodes the text and looks for the secret
as it is. What the first misses the second finds, and then nothing is written. Pure.
"""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from edge_agent.model import Credentials

SHORTEST = 4  # shorter ones are replaced where a user name or a password stands, not elsewhere
_SUBSTRING = 6  # from this length on also inside a word
BASE64 = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{6,2000}={0,2}")
_ROUNDS = 3  # of decoding: percent signs inside XML inside percent signs
# Words that every device says. A secret among them betrays nothing where the protocol itself speaks.
_WORDS = """
admin administrator http https rtsp onvif soap envelope header body fault code subcode reason text
value sender receiver profile profiles token name media media2 video audio source sources encoder
configuration configurations encoding h264 h265 hevc jpeg resolution width height quality framerate
bitrate multicast address addresses ipv4 ipv6 port stream streaming live main sub channel channels
channel1 subtype device service services device_service capabilities events event pullpoint subscription
analytics imaging network interfaces info hwaddress manual dhcp enabled true false manufacturer model
firmware firmwareversion serial serialnumber hardware hardwareid datetime utcdatetime localdatetime time
date year month day hour minute second timezone version major minor namespace xaddr response digest
basic realm nonce algorithm auth stale opaque session timeout transport unicast interleaved range
control trackid framerate camera cam1 user users username password pass root guest operator system
message topic true1 state motion data simpleitem source1 urn uuid schema types scopes location country
hikvision dahua login ip_camera server close content type length public options describe setup play
teardown
"""
_VOCABULARY = frozenset(_WORDS.split())


@dataclass(frozen=True, slots=True)
class Secret:
    """`kind` is `user` or `password`. `text` as a person types it."""

    kind: str
    text: str

    @property
    def tellable(self) -> bool:
        """Worth looking for anywhere: long enough, and no word of the protocol."""
        return len(self.text) >= SHORTEST and self.text.lower() not in _VOCABULARY


def of(credentials: Credentials | None) -> tuple[Secret, ...]:
    """The password first: where both are the same word it counts as the graver one."""
    if credentials is None:
        return ()
    both = (Secret("password", credentials.password), Secret("user", credentials.username))
    return tuple(secret for secret in both if secret.text)


def pattern(secret: Secret) -> re.Pattern[str]:
    """Matches the secret and what is derived from it, in text whose characters are bytes (latin-1)."""
    spelled = "".join(_character(c) for c in secret.text)
    derived = sorted(map(re.escape, derivatives(secret)), key=len, reverse=True)
    return re.compile("|".join((_bounded(secret.text, spelled), *derived)))


def derivatives(secret: Secret) -> tuple[str, ...]:
    """Base64, hex and the plain hashes in which devices hand a password back."""
    data = secret.text.encode()
    shifted = (base64.b64encode(b"x" * skip + data)[_CLEAN_FROM[skip] :] for skip in range(3))
    whole = (
        each[: len(each) - _unclean_tail(skip + len(data))].decode() for skip, each in enumerate(shifted)
    )
    hashed = (
        hashlib.new(name, data, usedforsecurity=False).hexdigest() for name in ("md5", "sha1", "sha256")
    )
    found = [text for text in (*whole, data.hex(), *hashed) if len(text) >= _SUBSTRING]
    return tuple(dict.fromkeys([*found, *(text.upper() for text in found if _is_hex(text))]))


def in_base64(word: str, secret: Secret) -> bool:
    """Whether `word` (a match of BASE64) says the secret, alone or among others as in Basic."""
    try:
        said = base64.b64decode(word + "=" * (-len(word) % 4))
    except ValueError:
        return False
    return secret.text.encode() in said


def betrayed(content: bytes, secrets: Iterable[Secret]) -> Secret | None:
    """The first secret that can still be read out of `content`, decoded in every way that devices write."""
    readings = _readings(content)
    for secret in secrets:
        if not secret.tellable:
            continue
        plain = re.compile(_bounded(secret.text, re.escape(secret.text)))
        if any(plain.search(reading) for reading in readings):
            return secret
        if any(form in readings[0] for form in derivatives(secret)):
            return secret
        if any(in_base64(word, secret) for word in BASE64.findall(readings[0])):
            return secret
    return None


_CLEAN_FROM = (0, 2, 3)  # base64 characters that depend on the bytes before


def _unclean_tail(length: int) -> int:
    """Base64 characters at the end that depend on the bytes after, padding counted."""
    return {0: 0, 1: 3, 2: 2}[length % 3]


def _bounded(text: str, spelled: str) -> str:
    """A number only as a whole number, a short word only as a whole word, anything longer anywhere."""
    if text.isdigit():
        return rf"(?<!\d){spelled}(?!\d)"
    if len(text) < _SUBSTRING:
        return rf"(?<![A-Za-z0-9]){spelled}(?![A-Za-z0-9])"
    return spelled


def _character(character: str) -> str:
    data = character.encode("utf-8", "surrogatepass")
    plain = re.escape(data.decode("latin-1"))
    percent = "".join(rf"%(?:25)?{_either_case(f'{byte:02x}')}" for byte in data)
    byte = [re.escape(character)] if 127 < ord(character) < 256 else []  # a device that thinks in Latin-1
    forms = [
        plain,
        percent,
        *byte,
        f"&#0*{ord(character)};",
        f"&#[xX]0*{_either_case(f'{ord(character):x}')};",
    ]
    forms.append(rf"\\u{_either_case(f'{ord(character):04x}')}")
    named = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&apos;", " ": r"\+"}
    if character in named:
        forms.append(named[character])
    if character in '"\\/':
        forms.append(re.escape("\\" + character))
    return f"(?:{'|'.join(forms)})"


def _either_case(digits: str) -> str:
    return "".join(f"[{c}{c.upper()}]" if c.isalpha() else c for c in digits)


def _readings(content: bytes) -> list[str]:
    """The text in the encodings that come into question, then unescaped again and again."""
    readings = [content.decode("utf-8", "replace"), content.decode("latin-1")]
    if b"\x00" in content:
        readings += [content.decode("utf-16-le", "replace"), content.decode("utf-16-be", "replace")]
    text = readings[0]
    for _ in range(_ROUNDS):
        plainer = html.unescape(unquote_to_bytes(text.encode("utf-8", "replace")).decode("utf-8", "replace"))
        if plainer == text:
            break
        readings.append(plainer)
        text = plainer
    return readings


def _is_hex(text: str) -> bool:
    return all(c in "0123456789abcdef" for c in text)
