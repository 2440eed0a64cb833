"""Refused credentials outlive a restart: one small durable file, without any password.

The file holds digests keyed with a secret of the box, so that whoever reads it can try no dictionary on it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from edge_agent import durable
from edge_agent.capture.lockout import MAX_STANDINGS, Lockouts, Standing
from edge_agent.capture.ports import Door

NAME = "lockouts.json"
_MAX_BYTES = 256 * 1024


class LockoutFile:
    """Reads at start, writes after each change. One thread at a time."""

    def __init__(self, path: Path, sign: Callable[[bytes], bytes]) -> None:
        """`sign` is the box's signature, which is the same each time (Ed25519) and known to nobody else."""
        self._path = path
        self.lockouts = Lockouts(sha256(sign(b"edge-agent lockouts v1")).digest(), _load(path))
        self._saved = self.lockouts.revision

    @property
    def due(self) -> bool:
        return self.lockouts.revision != self._saved

    def save(self) -> None:
        """Durable when it returns. Raises OSError."""
        revision = self.lockouts.revision
        standings = self.lockouts.worth_keeping()
        document = {"v": 1, "refused": {pair: _plain(standing) for pair, standing in standings.items()}}
        durable.replace(self._path, json.dumps(document, indent=1).encode())
        self._saved = revision


def _plain(standing: Standing) -> dict[str, object]:
    return {
        "wrong": standing.wrong,
        "onvif": standing.wrong_onvif,
        "rtsp": standing.wrong_rtsp,
        "proven": sorted(standing.proven),
        "left": standing.attempts_left,
        "locked": standing.locked,
    }


def _load(path: Path) -> dict[str, Standing]:
    """A missing or damaged file is no reason not to start: the counts begin anew."""
    try:
        with path.open(encoding="utf-8") as file:
            refused = json.loads(file.read(_MAX_BYTES))["refused"]
        return {str(pair): _standing(entry) for pair, entry in [*refused.items()][:MAX_STANDINGS]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _standing(entry: dict[str, object]) -> Standing:
    left, proven = entry["left"], entry["proven"]
    if not isinstance(proven, list):
        raise TypeError("proven is a list of doors")
    return Standing(
        wrong=int(str(entry["wrong"])),
        wrong_onvif=int(str(entry["onvif"])),
        wrong_rtsp=int(str(entry["rtsp"])),
        proven=frozenset(Door(name) for name in proven),
        attempts_left=None if left is None else int(str(left)),
        locked=entry["locked"] is True,
    )
