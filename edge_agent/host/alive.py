"""When did the box last live, and how did it end? Asked once at start, answered from one small file.

`alive.json` in the state directory holds boot id, wall and boot time, and whether the daemon said goodbye.
It is written at most once a minute (a durable write costs 16 KiB of flash wear) and replaced atomically.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from edge_agent import durable
from edge_agent.model import ClockTrust, Instant

log = logging.getLogger(__name__)

WRITE_EVERY_S = 60.0
MAX_FILE = 4096


class Ending(StrEnum):
    """How the previous run ended, as far as the box alone can tell."""

    FIRST_START = "first_start"
    STOPPED = "stopped"  # the daemon was stopped, the box may have gone on
    BOX_SHUTDOWN = "box_shutdown"  # stopped in order, then a new boot
    KILLED = "killed"  # same boot, no goodbye: a crash or kill -9
    POWER_LOST = "power_lost"  # new boot, no goodbye: cause unknown to us
    UNREADABLE = "unreadable"  # the file is damaged


@dataclass(frozen=True, slots=True)
class LastRun:
    """`alive` is the last durable sign of life, up to a minute before the end; None if there is none."""

    ending: Ending
    alive: Instant | None = None
    boot_id: bytes = b""

    @property
    def clean(self) -> bool:
        return self.ending in (Ending.STOPPED, Ending.BOX_SHUTDOWN)


class AliveFile:
    """Owned by the main thread. Write errors are logged once and tried again at the next turn."""

    def __init__(self, directory: Path, boot_id: bytes) -> None:
        self._path = directory / "alive.json"
        self._boot_id = boot_id
        self._written_ns: int | None = None
        self._failing = False

    def previous(self) -> LastRun:
        """How the run before this one ended. Call before the first `beat`."""
        try:
            content = self._path.read_bytes()[: MAX_FILE + 1]
        except FileNotFoundError:
            return LastRun(Ending.FIRST_START)
        except OSError as error:
            log.warning("%s: %s", self._path, error.strerror)
            return LastRun(Ending.UNREADABLE)
        return judge(content, self._boot_id)

    def beat(self, now: Instant) -> None:
        """Note that we live; writes when the last write is a minute old."""
        if self._written_ns is None or now.boot_ns - self._written_ns >= WRITE_EVERY_S * 1e9:
            self._write(now, clean=False)

    def goodbye(self, now: Instant) -> None:
        """The clean-shutdown mark: the last thing that an orderly stop does."""
        self._write(now, clean=True)

    def _write(self, now: Instant, *, clean: bool) -> None:
        try:
            durable.replace(self._path, encode(self._boot_id, now, clean=clean))
        except OSError as error:
            if not self._failing:
                log.warning("%s: %s; the next start cannot tell when we last lived", self._path, error)
            self._failing = True
        else:
            self._failing = False
        self._written_ns = now.boot_ns  # also after a failure: a full disk is not asked every second


def encode(boot_id: bytes, now: Instant, *, clean: bool) -> bytes:
    document = {
        "v": 1,
        "boot_id": boot_id.hex(),
        "wall_us": now.wall_us,
        "boot_ns": now.boot_ns,
        "trust": int(now.trust),
        "clean": clean,
    }
    return json.dumps(document).encode() + b"\n"


def judge(content: bytes, boot_id: bytes) -> LastRun:
    """Read what a previous run left, seen from a run in boot `boot_id`. Pure."""
    try:
        document = json.loads(content)
        alive = Instant(
            int(document["wall_us"]), int(document["boot_ns"]), ClockTrust(int(document["trust"]))
        )
        before = bytes.fromhex(document["boot_id"])
        clean = document["clean"] is True
    except (ValueError, KeyError, TypeError, RecursionError):
        return LastRun(Ending.UNREADABLE)
    return LastRun(_ending(before == boot_id, clean), alive, before)


def _ending(same_boot: bool, clean: bool) -> Ending:
    if clean:
        return Ending.STOPPED if same_boot else Ending.BOX_SHUTDOWN
    return Ending.KILLED if same_boot else Ending.POWER_LOST
