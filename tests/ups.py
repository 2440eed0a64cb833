"""A shop's UPS: NUT's own daemon with its dummy driver, for tests of what is known of mains."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

NUT = Path("/lib/nut")


class Ups:
    """upsd and its driver, started in the caller's network namespace; asked as `shop@127.0.0.1:{port}`."""

    def __init__(self, home: Path, port: int) -> None:
        home.mkdir()
        self.port = port
        self._state = home / "shop.dev"
        self.say("OL")
        (home / "run").mkdir(mode=0o770)
        for name, text in {
            "ups.conf": f"[shop]\n driver = dummy-ups\n port = {self._state}\n mode = dummy-loop\n",
            "upsd.conf": f"LISTEN 127.0.0.1 {self.port}\n",
            "upsd.users": "",
        }.items():
            (home / name).write_text(text)
            (home / name).chmod(0o640)
        run = str(home / "run")
        environment = {"NUT_CONFPATH": str(home), "NUT_STATEPATH": run, "NUT_ALTPIDPATH": run}
        user = ["-u", "root"] if os.geteuid() == 0 else []
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._programs = [
            subprocess.Popen(command, env={**os.environ, **environment}, **quiet)  # type: ignore[call-overload]
            for command in ([NUT / "dummy-ups", "-F", "-a", "shop", *user], [NUT / "upsd", "-F", *user])
        ]

    def say(self, status: str) -> None:
        """`OL` is mains, `OB` battery."""
        self._state.write_text(f"ups.status: {status}\nbattery.charge: 90\nTIMER 1\n")

    def stop(self) -> None:
        for program in self._programs:
            program.terminate()
            program.wait(10)
