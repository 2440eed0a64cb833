"""A minute of live view in a real browser on a whole city: virtual DVR, mosquitto, agent, console."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from edge_agent.demo.city import City, CityOptions

REPOSITORY = Path(__file__).resolve().parents[2]


def main() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory(prefix="edge-agent-page-") as state:
        options = CityOptions(cameras=4, state=Path(state), broker="mosquitto", port=port)
        with City(options, print) as city:
            command = [
                sys.executable, "-m", "pytest", "-q", "-s", "-m", "long", "tests/iccc/test_page_minute.py",
            ]  # fmt: skip
            environment = os.environ | {"EDGE_AGENT_CONSOLE": city.url}
            return subprocess.run(command, cwd=REPOSITORY, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
