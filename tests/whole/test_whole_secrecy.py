"""No picture in clear: pieces of what the DVR really sent are searched wherever the agent leaves bytes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest

from edge_agent.demo.settings import DVR_PASSWORD, SITE
from edge_agent.iccc.live import LiveFragment
from edge_agent.model import Role

pytestmark = pytest.mark.needs("mosquitto")

OPERATOR = "secrecy-test"


def found_in(haystack: bytes, pieces: set[bytes]) -> int:
    return sum(piece in haystack for piece in pieces)


def test_no_picture_in_clear_anywhere_but_where_it_was_opened(watcher: Any, tmp_path: Path) -> None:
    pieces: set[bytes] = set()
    control = tmp_path / "opened.mp4"
    with (
        control.open("wb") as file,
        watcher.client.live(SITE, "cam-01", Role.MAIN, operator=OPERATOR) as live,
    ):
        seen = 0
        for item in live:
            if isinstance(item, LiveFragment):
                file.write(item.data)
                seen += 1
                if seen % 10 == 0:
                    pieces |= set(watcher.city.dvr.control.sent().nals["1/main"])
                if seen >= 40:
                    break
    still = watcher.client.snapshot(SITE, "cam-01", operator=OPERATOR)
    pieces = {piece for piece in pieces if len(piece) == 64}
    assert len(pieces) >= 20

    assert found_in(control.read_bytes(), pieces) >= len(pieces) // 2, "the search itself finds nothing"

    agent = watcher.city.layout.agent
    left_behind = [p for p in agent.rglob("*") if p.is_file()] + list(watcher.city.layout.logs.iterdir())
    left_behind += list(watcher.city.layout.broker.iterdir())
    assert any(p.name.startswith("seg-") and p.stat().st_size > 100_000 for p in left_behind)
    jpeg = {still.jpeg[at : at + 64] for at in range(1024, len(still.jpeg) - 64, 512)}
    everything = b"".join(p.read_bytes() for p in left_behind if p.is_file())
    everything += b"".join(watcher.payloads) + b"".join(watcher.media)
    assert len(watcher.media) > 40
    assert found_in(everything, pieces) == 0
    assert found_in(everything, jpeg) == 0
    for temporary in Path(tempfile.gettempdir()).glob("edge-agent*"):
        if temporary.is_file():
            assert found_in(temporary.read_bytes(), pieces | jpeg) == 0


def test_no_credential_is_logged_or_sent(watcher: Any) -> None:
    secret = DVR_PASSWORD.encode()
    logs = b"".join(p.read_bytes() for p in watcher.city.layout.logs.iterdir())
    assert secret not in logs
    assert secret not in b"".join(watcher.payloads)
    assert secret not in b"".join(p.read_bytes() for p in (watcher.city.layout.agent / "ledger").iterdir())


def test_the_daemon_cannot_leave_a_core_dump(watcher: Any) -> None:
    """Its memory holds keys and pictures; what `forbid_core_dumps` does is lasting and can be seen."""
    proc = Path("/proc", str(watcher.city.agent.pid))
    limits = (proc / "limits").read_text(encoding="ascii")
    (line,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert line.split()[4:6] == ["0", "0"]
