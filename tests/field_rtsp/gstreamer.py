"""GStreamer's RTSP server as one of the judges, where Debian's packages for it are installed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from judges import Server

SCRIPT = Path(__file__).with_name("gst_server.py")
DEBIAN_PYTHON = "/usr/bin/python3"


def has_gstreamer() -> bool:
    asked = (
        "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import Gst, GstRtspServer;"
        "Gst.init(None); assert all(map(Gst.ElementFactory.find, ('x264enc', 'x265enc', 'rtph265pay')))"
    )
    found = Path(DEBIAN_PYTHON).exists()
    return (
        found
        and subprocess.run([DEBIAN_PYTHON, "-c", asked], capture_output=True, check=False).returncode == 0
    )


def gst_server(mpeg4: Path | None = None) -> Server:
    """`mpeg4` is a file of MPEG-4 Part 2, to be sent as if a camera did."""
    if not has_gstreamer():
        missing = "gir1.2-gst-rtsp-server-1.0, python3-gi, gstreamer1.0-plugins-{base,good,bad,ugly}"
        if os.environ.get("EDGE_AGENT_CI") == "1":
            pytest.fail(f"CI must have {missing}")
        pytest.skip(f"needs {missing}: apt-get install them to run this test")
    return Server(lambda port: [DEBIAN_PYTHON, str(SCRIPT), str(port), *([str(mpeg4)] if mpeg4 else [])])
