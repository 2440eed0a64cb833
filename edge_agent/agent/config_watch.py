"""Notices that a person edited the configuration (or a password file), so that nobody must restart a service.

A good new configuration ends the daemon in order, and the service manager starts it with the new one; a bad
one is told and the daemon goes on with what it has.
"""

from __future__ import annotations

import logging
from pathlib import Path

from edge_agent import config as configuration
from edge_agent.config import Config
from edge_agent.errors import ConfigError

log = logging.getLogger(__name__)

LOOK_EVERY_S = 2.0

_Stamp = tuple[int, int, int] | None


class ConfigWatch:
    """Main thread only."""

    def __init__(self, path: Path, running: Config) -> None:
        self._path = path
        self._running = running
        self._secrets = tuple(r.password_file for r in running.recorders if r.password_file)
        self._seen = self._stamps()
        self._next_s = 0.0

    def edited(self, now_s: float) -> bool:
        """True when a different and good configuration is there. Looks every two seconds."""
        if now_s < self._next_s:
            return False
        self._next_s = now_s + LOOK_EVERY_S
        stamps = self._stamps()
        if stamps == self._seen:
            return False
        secrets_changed = stamps[1:] != self._seen[1:]
        self._seen = stamps
        return self._is_good_and_new() or secrets_changed

    def _is_good_and_new(self) -> bool:
        try:
            return configuration.load(self._path) != self._running
        except ConfigError as error:
            for problem in error.problems:
                log.error("the edited configuration is not used: %s", problem)
            return False

    def _stamps(self) -> tuple[_Stamp, ...]:
        return tuple(_stamp(path) for path in (self._path, *self._secrets))


def _stamp(path: Path) -> _Stamp:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
