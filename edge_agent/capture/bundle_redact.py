"""Redaction: what tells who, where and with which password becomes a pseudonym of the same form. Pure.

Two passes. `learn` sees every text first: the serial number in a login realm is known for one only when
GetDeviceInformation has told it. `redact` then replaces. Pseudonyms come from the order of first sight,
never from the secret itself: a hash of a serial number could be tried out.

Text is bytes read as latin-1, which loses nothing whatever encoding a device declares.
docs/design/bundle.md lists what is replaced by what.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from edge_agent.capture import bundle_patterns as patterns
from edge_agent.capture import bundle_secrets
from edge_agent.capture.bundle_names import Names
from edge_agent.capture.bundle_secrets import Secret

_STANDARD_HOSTS = ("www.onvif.org", "www.w3.org", "schemas.xmlsoap.org", "docs.oasis-open.org")
_UTF16_MARKS = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_SHORTEST_SERIAL = 6
_LONG_WORD = 8  # from here on a word of a realm is replaced wherever it stands
_COMMON = """
ip ipc camera cam nvr dvr xvr nvt hd network video onvif dome bullet ptz encoder server hikvision dahua axis
bosch pelco uniview reolink tvt cp plus cpplus prama general h264dvr ipcam
"""
_COMMON_NAMES = set(_COMMON.split())
_WORD = re.compile(r"[A-Za-z0-9]+")

Match = re.Match[str]


class Redactor:
    """One per bundle: `learn` everything, then `redact` everything. `counts`: what was replaced, by kind."""

    def __init__(self, secrets: Sequence[Secret], reached: Sequence[str]) -> None:
        """`reached`: the address, and the host name if there was one, under which the device was asked."""
        self.counts: Counter[str] = Counter()
        self._names = Names(secrets, reached)
        self._secrets = [(s, bundle_secrets.pattern(s)) for s in secrets if s.tellable]
        self._known = {s.text for s in secrets}
        self._hosts = [h.lower() for h in reached if not _is_ipv4(h)]
        self._namespaces = set(_STANDARD_HOSTS)
        self._serials: list[str] = []
        self._realm_words: list[str] = []
        self._macs: list[str] = []
        self._models: list[str] = []
        self._versions = ""

    def learn(self, text: str) -> None:
        for found in patterns.NAMESPACE.finditer(text):
            self._namespaces.add(found["text"].lower())
        for found in patterns.NAMESPACE_TEXT.finditer(text):
            self._namespaces.update(h["text"].lower() for h in patterns.HOST_OF.finditer(found["text"]))
        for found in patterns.IPV4.finditer(text):
            self._names.reserve(found[0])
        self._models += [m["text"].strip() for m in patterns.MODELS.finditer(text)]
        self._versions += "".join(f" {m['text'].strip()} " for m in patterns.VERSIONS.finditer(text))
        _extend(self._serials, (m["text"].strip() for m in patterns.SERIALS.finditer(text)))
        realms = (m["text"] for m in patterns.REALM.finditer(text))
        _extend(self._realm_words, (w for realm in realms for w in patterns.REALM_WORD.findall(realm)))
        _extend(self._macs, (re.sub("[:-]", "", m[0]).lower() for m in patterns.MAC.finditer(text)))
        _extend(self._macs, (m["text"].lower() for m in patterns.MAC_SCOPE.finditer(text)))
        for password in (m["password"] for m in patterns.XM_PATH.finditer(text)):
            self._learn_password(password)

    def learn_bytes(self, content: bytes) -> None:
        self.learn(_read(content)[0])

    def redact_bytes(self, content: bytes) -> bytes:
        text, encoding = _read(content)
        return self.redact(text).encode(encoding)

    def redact(self, text: str) -> str:
        for step in (self._logins, self._known_secrets, self._identities, self._addresses, self._places):
            text = step(text)
        return text

    def _logins(self, text: str) -> str:
        text = self._each(patterns.SECURITY, "login", text, lambda _: "")
        text = self._each(patterns.USERINFO, "login", text, self._userinfo)
        text = self._each(patterns.XM_PATH, "login", text, self._xm_path)
        for pattern in (patterns.PASSWORD_PARAMETER, patterns.PASSWORDS):
            text = self._inside(pattern, "password", text, self._password)
        for pattern in (patterns.QUOTED_USER, patterns.USER_PARAMETER, patterns.USERS):
            text = self._inside(pattern, "user", text, self._user)
        return self._inside(patterns.PROOF, "nonce", text, lambda t: self._names.shaped("nonce", t))

    def _known_secrets(self, text: str) -> str:
        for secret, pattern in self._secrets:
            name = self._names.login(secret.kind, secret.text)
            text = self._each(pattern, secret.kind, text, lambda _, name=name: name)  # type: ignore[misc]
        return self._each(bundle_secrets.BASE64, "password", text, self._base64)

    def _base64(self, match: Match) -> str:
        hidden = next((s for s, _ in self._secrets if bundle_secrets.in_base64(match[0], s)), None)
        return self._names.login(hidden.kind, hidden.text) if hidden else match[0]

    def _identities(self, text: str) -> str:
        text = self._each(patterns.UUID, "identifier", text, lambda m: self._names.uuid(m[0]))
        text = self._inside(patterns.REALM, "serial", text, self._realm)
        for serial in self._replaceable_serials():
            text = self._each(re.compile(re.escape(serial), re.IGNORECASE), "serial", text, self._serial)
        text = self._each(patterns.MAC, "mac", text, lambda m: self._names.mac(m[0]))
        for mac in self._macs:
            plain = re.compile(rf"(?<![0-9A-Fa-f]){mac}(?![0-9A-Fa-f])", re.IGNORECASE)
            text = self._each(plain, "mac", text, lambda m: self._names.mac(m[0]))
        return self._inside(patterns.SSIDS, "ssid", text, lambda t: self._names.shaped("ssid", t))

    def _addresses(self, text: str) -> str:
        text = self._each(patterns.EMAIL, "e-mail", text, self._email)
        text = self._each(patterns.IPV4, "address", text, self._ipv4)
        text = self._each(patterns.IPV6, "address", text, lambda m: self._names.address6(m[0]))
        text = self._inside(patterns.URL_HOST, "host", text, self._host)
        for host in self._hosts:
            pattern = re.compile(rf"(?<![\w.-]){re.escape(host)}(?![\w-])", re.IGNORECASE)
            text = self._each(pattern, "host", text, lambda m: self._names.host(m[0]))
        return text

    def _places(self, text: str) -> str:
        text = self._inside(patterns.SDP_PERSON, "person", text, lambda _: "removed")
        text = self._inside(patterns.COORDINATES, "coordinates", text, lambda t: re.sub(r"\d", "0", t))
        text = self._inside(
            patterns.PLACES, "place", text, lambda t: self._names.numbered("place", t, "place{}")
        )
        return self._inside(patterns.GIVEN_NAMES, "name", text, self._given_name)

    def _each(self, pattern: re.Pattern[str], kind: str, text: str, make: Callable[[Match], str]) -> str:
        def replaced(match: Match) -> str:
            fresh = make(match)
            self.counts[kind] += fresh != match[0]
            return fresh

        return pattern.sub(replaced, text)

    def _inside(self, pattern: re.Pattern[str], kind: str, text: str, make: Callable[[str], str]) -> str:
        return self._each(pattern, kind, text, lambda m: m["before"] + make(m["text"]))

    def _userinfo(self, match: Match) -> str:
        password = self._password(match["password"]) if match["password"] else ""
        return f"{match['before']}{self._user(match['text'])}{match['colon']}{password}@"

    def _xm_path(self, match: Match) -> str:
        user = self._user(match["text"]) if match["text"] else ""
        password = self._password(match["password"]) if match["password"] else ""
        return f"{match['before']}{user}{match['middle']}{password}"

    def _user(self, text: str) -> str:
        return self._names.login("user", text)

    def _password(self, text: str) -> str:
        return self._names.login("password", text)

    def _learn_password(self, text: str) -> None:
        """XM writes a hash of the password into its URLs, which is as good as the password."""
        secret = Secret("password", text)
        if secret.tellable and len(text) >= _SHORTEST_SERIAL and text not in self._known:
            self._known.add(text)
            self._secrets.append((secret, bundle_secrets.pattern(secret)))

    def _replaceable_serials(self) -> list[str]:
        """Longest first, so that a serial inside another is not replaced in part."""
        words = [w for w in self._realm_words if len(w) >= _LONG_WORD and self._is_serial(w)]
        return sorted({*filter(self._is_serial, self._serials), *words}, key=lambda s: (-len(s), s))

    def _is_serial(self, text: str) -> bool:
        """Not "0", not "000000", not the model, and no MAC: that has its own pseudonym."""
        telling = len(text) >= _SHORTEST_SERIAL - 1 and len(set(text)) > 2 and any(c.isdigit() for c in text)
        return telling and text.lower() not in self._macs and not any(text in model for model in self._models)

    def _serial(self, match: Match) -> str:
        return self._serial_name(match[0])

    def _serial_name(self, text: str) -> str:
        """The tail of a known serial number is called by the tail of its pseudonym (Hikvision's realm)."""
        for serial in self._serials:
            if self._is_serial(serial) and serial.lower().endswith(text.lower()):
                return self._names.shaped("serial", serial, self._model_in(serial))[-len(text) :]
        return self._names.shaped("serial", text, self._model_in(text))

    def _model_in(self, serial: str) -> str:
        """Hikvision's serial numbers begin with the model."""
        return max((m for m in self._models if serial.startswith(m)), key=len, default="")

    def _realm(self, realm: str) -> str:
        def word(match: Match) -> str:
            return self._serial_name(match[0]) if self._is_serial(match[0]) else match[0]

        return patterns.REALM_WORD.sub(word, realm)

    def _ipv4(self, match: Match) -> str:
        """A firmware version of four numbers is no address, unless it looks like one of a local network."""
        if f" {match[0]} " in self._versions and not _is_private(match[0]):
            return match[0]
        return self._names.address(match[0])

    def _host(self, text: str) -> str:
        if _is_ipv4(text) or text.lower() in self._namespaces:
            return text
        return self._names.host(text)

    def _email(self, match: Match) -> str:
        return self._names.numbered("e-mail", match[0], "person{}@example.org")

    def _given_name(self, text: str) -> str:
        """`Hikvision%20DS-2CD` stays; what an owner typed does not."""
        told = {w.lower() for model in self._models for w in _WORD.findall(model)} | _COMMON_NAMES
        words = [w.lower() for w in _WORD.findall(text.replace("%20", " "))]
        if all(w in told for w in words):
            return text
        return self._names.numbered("name", text, "name{}")


def _read(content: bytes) -> tuple[str, str]:
    """Text and the encoding in which it goes back, so that what is not replaced stays byte for byte."""
    mark = _UTF16_MARKS.get(content[:2])
    if mark is not None:
        with suppress(UnicodeDecodeError):
            return content.decode(mark), mark
    return content.decode("latin-1"), "latin-1"


def _extend(known: list[str], found: Iterable[str]) -> None:
    for text in found:
        if text and text not in known and len(known) < 1000:
            known.append(text)


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def _is_private(text: str) -> bool:
    return _is_ipv4(text) and ipaddress.IPv4Address(text).is_private
