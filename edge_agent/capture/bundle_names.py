"""Pseudonyms: of the form of what they stand for, in order of first sight, the same for the same. Pure."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Callable, Sequence
from itertools import chain

from edge_agent.capture import bundle_secrets
from edge_agent.capture.bundle_secrets import Secret

REACHED = "192.0.2.1"
_DOCUMENTATION = tuple(
    ipaddress.ip_network(n)
    for n in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")  # RFC 5737
)
_DOCUMENTATION6 = ipaddress.ip_network("2001:db8::/32")  # RFC 3849
_USER_BASES = ("user", "person", "someone", "benutzer")
_PASSWORD_BASES = ("password", "secret", "keyword", "losung")
_HEX = set("0123456789abcdefABCDEF")


class Names:
    """One per bundle. `reached` is the device's address or host name as the tool reached it."""

    def __init__(self, secrets: Sequence[Secret], reached: Sequence[str]) -> None:
        self._given: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}
        self._taken: set[str] = {REACHED}
        self._free = chain.from_iterable(map(_hosts, _DOCUMENTATION))
        self._bases = {
            "user": _harmless(_USER_BASES, secrets),
            "password": _harmless(_PASSWORD_BASES, secrets),
        }
        for secret in secrets:
            self.login(secret.kind, secret.text)
        for name in reached:
            kind = "address" if _ipv4(name) else "host"
            self._given[kind, name.lower()] = REACHED if kind == "address" else "recorder.example"

    def login(self, kind: str, text: str) -> str:
        """`kind` is `user` or `password`."""
        base = self._bases[kind]
        if text.startswith(base) and text[len(base) :].isdigit():
            return text
        return self._of(kind, text, lambda n: f"{base}{n}")

    def reserve(self, address: str) -> None:
        """A documentation address in the text keeps itself; nobody else gets it."""
        if _documented(address):
            self._taken.add(address)

    def address(self, text: str) -> str:
        """Of the documentation blocks; what is no device's address (0.0.0.0, masks, multicast) stays."""
        known = self._given.get(("address", text))
        if known is not None:
            return known
        parsed = _ipv4(text)
        if parsed is None or _telling(parsed) or _documented(text):
            return text
        return self._of("address", text, lambda _: self._next_address())

    def address6(self, text: str) -> str:
        try:
            parsed = ipaddress.IPv6Address(text)
        except ValueError:
            return text
        if parsed.is_unspecified or parsed.is_loopback or parsed.is_multicast or parsed in _DOCUMENTATION6:
            return text
        return self._of("address6", str(parsed), lambda n: f"2001:db8::{n:x}")

    def host(self, text: str) -> str:
        lowered = text.lower()
        if lowered == "localhost" or lowered.endswith(".example"):
            return text
        return self._of("host", lowered, lambda n: f"host{n}.example")

    def mac(self, text: str) -> str:
        """Keeps the maker's half (OUI), separators and case."""
        digits = [at for at, c in enumerate(text) if c in _HEX]
        plain = "".join(text[at] for at in digits).lower()
        if len(set(plain)) == 1:
            return text
        tail = self._of("mac", plain, lambda n: _noise("mac", n).hex()[:6])
        upper = any(c.isupper() for c in text)
        out = list(text)
        for at, digit in zip(digits[6:], tail, strict=True):
            out[at] = digit.upper() if upper else digit
        return "".join(out)

    def uuid(self, text: str) -> str:
        def make(n: int) -> str:
            digits = _noise("uuid", n).hex()
            return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-8{digits[17:20]}-{digits[20:32]}"

        found = self._of("uuid", text.lower(), make)
        return found.upper() if any(c.isupper() for c in text) else found

    def shaped(self, kind: str, text: str, keep: str = "") -> str:
        """Letters for letters and digits for digits; `keep` is a prefix that stays, such as the model."""
        kept = keep if keep and text.startswith(keep) and len(text) > len(keep) else ""
        return kept + self._of(kind, text, lambda n: _shaped(kind, n, text[len(kept) :]))

    def numbered(self, kind: str, text: str, form: str) -> str:
        """`form` has one `{}` for the number; what has that form already stays."""
        before, _, after = form.partition("{}")
        if (
            text.startswith(before)
            and text.endswith(after)
            and text[len(before) :].removesuffix(after).isdigit()
        ):
            return text
        return self._of(kind, text, form.format)

    def _of(self, kind: str, text: str, make: Callable[[int], str]) -> str:
        key = kind, text
        if key not in self._given:
            self._counts[kind] = self._counts.get(kind, 0) + 1
            self._given[key] = make(self._counts[kind])
        return self._given[key]

    def _next_address(self) -> str:
        """When all 762 are given, the last one stands for the rest."""
        for address in self._free:
            if address not in self._taken:
                self._taken.add(address)
                return address
        return "203.0.113.254"


def _hosts(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> list[str]:
    return [str(address) for address in network.hosts()]


def _ipv4(text: str) -> ipaddress.IPv4Address | None:
    try:
        return ipaddress.IPv4Address(text)
    except ValueError:
        return None


def _telling(address: ipaddress.IPv4Address) -> bool:
    """A lie worth keeping, and nobody's address: 0.0.0.0, 127.0.1.1, 255.255.255.0, 239.255.255.250."""
    return address.is_loopback or int(address) >> 24 in (0, *range(224, 256))


def _documented(text: str) -> bool:
    parsed = _ipv4(text)
    return parsed is not None and any(parsed in network for network in _DOCUMENTATION)


def _harmless(bases: Sequence[str], secrets: Sequence[Secret]) -> str:
    """A pseudonym must not be somebody's real password."""
    good = (b for b in bases if bundle_secrets.betrayed(f"{b} {b}1 {b}2 {b}3".encode(), secrets) is None)
    return next(good, "x")


def _noise(kind: str, n: int, more: int = 0) -> bytes:
    return hashlib.sha256(f"{kind} {n} {more}".encode()).digest()


def _shaped(kind: str, n: int, text: str) -> str:
    hexadecimal = all(c in _HEX for c in text) and any(c.isalpha() for c in text) and len(text) >= 16
    noise = b"".join(_noise(kind, n, block) for block in range(len(text) // 32 + 1))
    return "".join(_like(c, b, 6 if hexadecimal else 26) for c, b in zip(text, noise, strict=False))


def _like(character: str, byte: int, letters: int) -> str:
    if not character.isascii() or not character.isalnum():
        return character
    if character.isdigit():
        return str(byte % 10)
    return chr(ord("A" if character.isupper() else "a") + byte % letters)
