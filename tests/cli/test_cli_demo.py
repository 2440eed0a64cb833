"""Two demos beside each other: the second says why it cannot start, and leaves the first alone."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from edge_agent.host.lock import sole_owner


def demo(state: Path, port: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_agent.cli", "demo", "--state", str(state), "--port", str(port)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_port_that_is_taken_is_named_before_anything_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = demo(tmp_path, port)
    assert done.returncode == 1
    assert done.stderr == f"edge-agent: port {port}: Address already in use; choose another one with --port\n"
    assert done.stdout == ""


def test_a_state_that_another_demo_uses_is_refused(tmp_path: Path) -> None:
    with sole_owner(tmp_path):
        done = demo(tmp_path, 1)
    assert done.returncode == 1
    assert done.stderr.startswith(f"edge-agent: {tmp_path}: another edge-agent is at work here")
    assert done.stdout == ""
