"""What the daemon imports at start must stay light: a Pi records long before it needs ONVIF."""

from __future__ import annotations

import json
import subprocess
import sys

HEAVY = ("lxml", "zeep", "requests", "onvif", "av", "cv2", "numpy")
# What a box that was killed does not need to record again.
LATER = ("joserfc", "paho", "psutil", "cryptography.x509", "typer", "rich", "sqlite3")


def test_the_daemon_and_the_seams_load_neither_onvif_nor_media_libraries() -> None:
    code = (
        "import sys, json\n"
        "import edge_agent.app\n"
        "from edge_agent.capture import brands, channels, device, discovery, lockout, pictures, wsd\n"
        f"print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    )

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)

    assert json.loads(said.stdout) == []


def test_what_is_not_needed_for_recording_again_is_loaded_later() -> None:
    code = (
        "import sys, json\n"
        "import edge_agent.cli.entry, edge_agent.app\n"
        f"print(json.dumps([m for m in {LATER!r} if m in sys.modules]))"
    )

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)

    assert json.loads(said.stdout) == []


def test_onvif_leaves_logging_and_the_environment_alone() -> None:
    code = (
        "import os, logging\n"
        "os.environ['http_proxy'] = 'kept'\n"
        "from edge_agent.capture import onvif\n"
        "from edge_agent.capture.session import Session\n"
        "from edge_agent.capture.lockout import Lockouts\n"
        "from edge_agent.clock import SystemClock\n"
        "onvif.OnvifDevice(Session('127.0.0.1', 1, None, SystemClock(), Lockouts()))\n"
        "print(logging.getLogger().handlers, os.environ['http_proxy'], onvif.wsdl_directory().name)"
    )

    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, timeout=60, text=True
    )

    assert said.stdout.split() == ["[]", "kept", "wsdl"]
