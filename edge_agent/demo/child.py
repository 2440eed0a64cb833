"""A child process of the demo: its log in a file, ended politely, then firmly, and with its parent."""

from __future__ import annotations

import ctypes
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
POLITE_S = 8.0


class Child:
    """One program. The owner starts and stops it; whoever asks may look."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self.command = tuple(command)
        self.log = log
        self.restarts = -1
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """(Re)start. Raises OSError when the program cannot be run."""
        self.restarts += 1
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the demo alone, which stops them in order
                preexec_fn=die_with_parent,
            )

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self._process.poll() if self._process else None

    def stop(self) -> None:
        """SIGTERM, and SIGKILL for one that does not listen."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(POLITE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(POLITE_S)

    def last_words(self, lines: int = 5) -> str:
        """The end of its log, for the message that says it died."""
        try:
            return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
        except OSError:
            return ""


def die_with_parent() -> None:
    """A demo that is killed leaves nothing running. Runs between fork and exec: no more than this."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
