"""Whose word counts: the keys that the reader brought, or, without any, those in the package itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from edge_agent.verify.notes import COSIGNATURE, PLAIN, Key, cosigned_at, parse_key, signed_text
from edge_agent.verify.report import Findings, Unusable

PARTS = {"box": PLAIN, "exporter": PLAIN, "witness": COSIGNATURE, "mirror": COSIGNATURE}
FROM_PACKAGE = "keys taken from the package itself: this proves only that it is consistent"
PINNED = "keys pinned by the reader"
MAX_TRUST = 1 << 20


@dataclass(frozen=True, slots=True)
class Trust:
    """Pinned keys by part, as vkeys. None: nobody brought any."""

    pinned: frozenset[tuple[str, str]] | None = None

    def has(self, part: str, key: Key | None) -> bool:
        return key is not None and self.pinned is not None and (part, key.vkey) in self.pinned


@dataclass(frozen=True, slots=True)
class Keys:
    """The package's keys as they may be used; a cosigner that is not trusted is None. `words` per part."""

    box: Key
    exporter: Key
    mirror: Key | None
    witness: Key | None
    words: dict[str, str]


def read_trust(path: Path) -> Trust:
    """Lines of `box|exporter|witness|mirror VKEY`; `#` begins a comment. Raises Unusable."""
    try:
        with path.open("rb") as file:
            lines = file.read(MAX_TRUST).decode("utf-8").splitlines()
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Unusable(f"{path}: this is no list of keys") from error
    pinned = set()
    for number, line in enumerate(lines, 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or words[0] not in PARTS:
            raise Unusable(f"{path}, line {number}: must be box, exporter, witness or mirror, and a key")
        try:
            if parse_key(words[1]).kind != PARTS[words[0]]:
                raise ValueError(f"not a key for a {words[0]}")
        except ValueError as error:
            raise Unusable(f"{path}, line {number}: {error}") from error
        pinned.add((words[0], words[1]))
    return Trust(frozenset(pinned))


def keys_of(listed: dict[str, str], trust: Trust, cosigned_note: str, findings: Findings) -> Keys | None:
    """The keys the manifest names, held against what is pinned.

    A box need not be pinned: a pinned mirror's cosignature names its origin, and with it its key.
    """
    keys = {part: _key(listed.get(part, ""), part, findings) for part in PARTS}
    box, exporter = keys["box"], keys["exporter"]
    if box is None or exporter is None:
        findings.add("manifest.json", "the keys of the box and of the exporter are not named")
        return None
    if not findings.check(_names_itself(box), "manifest.json", "the box's key does not belong to its name"):
        return None
    if trust.pinned is None:
        words = {part: "from the package" for part, key in keys.items() if key}
        return Keys(box, exporter, keys["mirror"], keys["witness"], words)
    words = {part: "pinned" for part, key in keys.items() if trust.has(part, key)}
    mirror = keys["mirror"] if "mirror" in words else None
    witness = keys["witness"] if "witness" in words else None
    if "box" not in words and mirror is not None and _vouched(cosigned_note, box, mirror):
        words["box"] = f"vouched for by {mirror.name}"
    findings.check("box" in words, "keys", f"the box's key {box.name} is not trusted")
    same = exporter.public == box.public and "box" in words
    findings.check("exporter" in words or same, "keys", f"the exporter's key {exporter.name} is not trusted")
    if same:
        words.setdefault("exporter", "the box's")
    unused = {part: "not trusted" for part, key in keys.items() if key and part not in words}
    return Keys(box, exporter, mirror, witness, words | unused)


def _key(vkey: str, part: str, findings: Findings) -> Key | None:
    if not vkey:
        return None
    try:
        key = parse_key(vkey)
    except ValueError as error:
        findings.add("manifest.json", f"the key of the {part}: {error}")
        return None
    return key if findings.check(key.kind == PARTS[part], "manifest.json", f"no key for a {part}") else None


def _names_itself(box: Key) -> bool:
    """The log's name ends in the first 16 digits of its key's hash (docs/ledger.md)."""
    return re.fullmatch(r"\S+/" + sha256(box.public).hexdigest()[:16], box.name) is not None


def _vouched(note: str, box: Key, mirror: Key) -> bool:
    return signed_text(note, box) is not None and cosigned_at(note, mirror) is not None
