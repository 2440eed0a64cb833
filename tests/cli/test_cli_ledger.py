"""`ledger show`, `ledger verify`, `audit`: real files, the real command, the daemon running or not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from edge_agent.agent.journal import Journal
from edge_agent.clock import ManualClock, SystemClock
from edge_agent.events import BoundedInbox
from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger.writer import LedgerWriter
from edge_agent.seal.keys import BoxKey
from edge_agent.uplink import ulid
from edge_agent.uplink.commands import Code, Command
from edge_agent.uplink.facts import CommandRefused

SITE = "site-1"


class Shop:
    """A state directory with a ledger in it, and its configuration file."""

    def __init__(self, directory: Path) -> None:
        self.state = directory / "state"
        self.state.mkdir()
        self.config = directory / "edge-agent.toml"
        self.config.write_text(
            f'[site]\nid = "{SITE}"\nname = "Test"\ntimezone = "Asia/Kolkata"\n'
            f'[state]\ndirectory = "{self.state}"\n'
            '[[cameras]]\nid = "cam-01"\nurl = "rtsp://192.0.2.7/main"\n',
            encoding="utf-8",
        )
        self.config.chmod(0o640)
        box = BoxKey.load_or_create(self.state / "box.key")
        self.ledger = LedgerWriter(
            directory=self.state / "ledger",
            origin=notes.origin_of(SITE, box.public),
            sign=box.sign,
            public=box.public,
            clock=SystemClock(),
            inbox=BoundedInbox(),
        )
        self.ledger.witnessed(None)
        self.journal = Journal(self.ledger, bytes(16))

    def sync(self) -> None:
        self.ledger.turn(last=True)

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "edge_agent.cli", *arguments, "--config", str(self.config)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def command(op: str, operator: str, reason: str) -> Command:
    return Command(
        id=ulid.new(ManualClock().now().wall_us), site=SITE, session=ulid.new(1), op=op,
        args={"camera": "cam-01"}, operator=operator, reason=reason, iat=1, exp=60,
    )  # fmt: skip


def test_show_prints_the_newest_leaves_in_local_time_oldest_first(shop: Shop) -> None:
    for number in range(30):
        shop.journal.local(f"look-{number}", "ravi")
    shop.journal.camera({"camera": "cam-01", "state": "dark", "text": "Forecourt stopped sending"})
    shop.sync()
    lines = shop.ask("ledger", "show", "--last", "2").stdout.splitlines()
    assert "look-29" in lines[0]
    assert lines[1].split()[0] == "30"
    assert "Forecourt stopped sending" in lines[1]
    only = json.loads(shop.ask("ledger", "show", "--kind", "camera", "--json").stdout)
    assert [(leaf["index"], leaf["type"]) for leaf in only] == [(30, "camera")]


def test_verify_says_that_everything_holds(shop: Shop) -> None:
    shop.journal.local("snapshot", "ravi")
    shop.sync()
    done = shop.ask("ledger", "verify")
    assert (done.returncode, done.stderr) == (0, "")
    assert "everything holds" in done.stdout


def test_verify_says_which_leaf_was_altered(shop: Shop) -> None:
    from edge_agent.ledger import parts

    for who in ("ravi", "asha", "guest"):
        shop.journal.local("snapshot", who)
    shop.sync()
    (part,) = (shop.state / "ledger").glob("leaves-*.log")
    leaves = shop.ledger.log.leaves(0, 3)
    leaves[1] = leaves[1].replace(b"asha", b"ravi")
    part.write_bytes(b"".join(parts.frame(leaf) for leaf in leaves))
    done = shop.ask("ledger", "verify")
    assert done.returncode == 1
    assert "DOES NOT HOLD: leaf 1 is not the one that was hashed" in done.stdout
    assert json.loads(shop.ask("ledger", "verify", "--json").stdout)["ok"] is False


def test_verify_is_not_fooled_by_a_ledger_exchanged_together_with_its_key(shop: Shop, tmp_path: Path) -> None:
    shop.journal.local("snapshot", "ravi")
    shop.sync()
    (tmp_path / "other").mkdir()
    other = Shop(tmp_path / "other")
    other.journal.local("snapshot", "nobody")
    other.sync()
    for path in (other.state / "ledger").iterdir():
        (shop.state / "ledger" / path.name).write_bytes(path.read_bytes())
    assert shop.ask("ledger", "verify").returncode == 1


def test_audit_says_who_asked_for_what_and_why_once_each(shop: Shop) -> None:
    order = command("live.start", "asha", "alarm 8812")
    shop.journal.command(order, "received")
    shop.journal.local("snapshot", "uid 1000", "cam-01")
    shop.journal.command(order, "done")
    now = SystemClock().now()
    shop.journal.refused(
        CommandRefused(now, Code.NOT_ALLOWED, "no", "k2", "mallory", "wipe", ulid.new(now.wall_us))
    )
    shop.sync()
    lines = shop.ask("audit").stdout.splitlines()
    assert len(lines) == 3
    assert "asha" in lines[0]
    assert "live.start cam-01" in lines[0]
    assert lines[0].endswith('"alarm 8812"  done')
    assert "at the box, uid 1000" in lines[1]
    assert "mallory" in lines[2]
    assert lines[2].endswith("refused: not_allowed")


def test_audit_says_who_announced_work(shop: Shop) -> None:
    shop.journal.work({"cameras": ["cam-01"], "until": "soon", "reason": "cleaning", "who": "local uid 0"})
    shop.sync()
    line = shop.ask("audit").stdout
    assert "at the box, uid 0" in line
    assert line.endswith('"cleaning"  until soon\n')


def test_a_box_without_a_ledger_is_told_so(shop: Shop) -> None:
    for path in (shop.state / "ledger").iterdir():
        path.unlink()
    (shop.state / "ledger").rmdir()
    done = shop.ask("audit")
    assert done.returncode == 1
    assert "no ledger yet" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not read")
def test_somebody_who_may_not_read_is_told_what_to_do() -> None:
    program = (
        "import os, sys; from edge_agent.cli import entry, ledger, leaves, main; os.seteuid(65534); "
        "sys.argv[1:] = ['ledger', 'show', '--config', sys.argv[1]]; entry.main()"
    )
    with tempfile.TemporaryDirectory() as name:  # below tmp_path nobody but the tester may look
        Path(name).chmod(0o755)
        shop = Shop(Path(name))
        shop.config.chmod(0o644)
        (shop.state / "ledger").chmod(0o700)
        command = [sys.executable, "-c", program, str(shop.config)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "permission denied; run it with sudo" in done.stderr
    assert "Traceback" not in done.stderr
