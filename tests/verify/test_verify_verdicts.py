"""What the verifier says of honest packages: gaps with causes, tails, keys, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from evidence_world import START_US, Box, S, minutes
from typer.testing import CliRunner

from edge_agent.cli.main import app
from edge_agent.export.rows import Keyring
from edge_agent.ledger.checkpoint import Verifier
from edge_agent.model import Codec
from edge_agent.seal.keys import BoxKey, generate_recipient
from edge_agent.seal.record import Aead
from edge_agent.verify.check import verify
from edge_agent.verify.report import Report, Verdict
from edge_agent.verify.text import lines
from edge_agent.verify.trust import Trust, read_trust


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "evidence.zip"


def exported(
    box: Box, out: Path, start_s: float = 0, end_s: float = 1e9, trust: Trust | None = None
) -> Report:
    box.export(out, start_s, end_s)
    report = verify(out, trust)
    assert report.problems == ()
    return report


@pytest.mark.parametrize("codec", list(Codec))
@pytest.mark.parametrize("aead", [Aead.AES_256_GCM, Aead.CHACHA20_POLY1305])
def test_what_was_recorded_without_a_pause_is_authentic(out: Path, codec: Codec, aead: Aead) -> None:
    report = exported(minutes(Box(codec, 160, 96, aead), 2), out)
    assert report.verdict is Verdict.AUTHENTIC
    assert report.anchored == report.fragments == 40


def test_a_pause_is_a_gap_with_the_reason_that_was_sealed(out: Path) -> None:
    box = minutes(Box())
    box.pause(30, reason="no packets for 5 s")
    box.record(2, epoch=False)
    box.mark()
    report = exported(box, out)
    assert report.verdict is Verdict.AUTHENTIC_WITH_GAPS
    (gap,) = report.gaps
    assert (gap.from_us, gap.to_us) == (START_US + 4 * S, START_US + 34 * S)
    assert gap.cause == "no packets for 5 s"
    assert (gap.clip, gap.at_us) == ("clip.mp4", 4 * S)


def test_a_pause_that_only_the_ledger_explains_cites_its_leaf(out: Path) -> None:
    box = minutes(Box())
    box.pause(30, leaf="power_cut")
    box.record(2)
    box.mark()
    report = exported(box, out)
    assert report.verdict is Verdict.AUTHENTIC_WITH_GAPS
    assert report.gaps[0].cause == "power_cut"


def test_a_gap_at_either_end_of_the_window_is_named(out: Path) -> None:
    box = Box()
    box.pause(10)
    box.record(4)
    box.mark()
    box.pause(20)
    report = exported(box, out)
    assert [g.to_us - g.from_us for g in report.gaps] == [10 * S, 20 * S]


def test_what_no_mark_names_yet_is_a_tail_from_its_first_fragment_on(out: Path) -> None:
    box = minutes(Box())
    box.record(2, epoch=False)
    report = exported(box, out)
    assert report.verdict is Verdict.UNANCHORED_TAIL
    (tail,) = report.tails
    assert (tail.first.n, tail.last.n, tail.fragments) == (22, 31, 10)


def test_what_only_the_box_has_signed_is_a_tail(out: Path) -> None:
    box = minutes(Box())
    box.record(2, epoch=False)
    box.mark(cosign=False)
    report = exported(box, out)
    assert report.verdict is Verdict.UNANCHORED_TAIL
    assert report.tails[0].fragments == 10


def test_what_a_crash_took_from_the_marks_is_a_tail_in_the_middle(out: Path) -> None:
    box = minutes(Box())
    box.record(1, epoch=False)
    box.crash()
    box.pause(5)
    box.record(2)
    box.mark()
    report = exported(box, out)
    assert report.verdict is Verdict.UNANCHORED_TAIL
    assert [(t.first.n, t.fragments) for t in report.tails] == [(22, 5)]


def test_epochs_that_follow_each_other_are_anchored_by_one_mark_at_their_end(out: Path) -> None:
    box = Box()
    for _ in range(3):
        box.record(1)
    box._ended.clear()
    box.mark()
    assert exported(box, out).verdict is Verdict.AUTHENTIC


def test_without_pinned_keys_only_consistency_is_claimed(out: Path, tmp_path: Path) -> None:
    box = minutes(Box())
    assert "proves only that it is consistent" in exported(box, out).trust
    pinned = exported(box, out, trust=read_trust(box.trust(tmp_path / "keys", "box", "mirror", "witness")))
    assert pinned.keys == dict.fromkeys(("box", "witness", "mirror"), "pinned") | {"exporter": "the box's"}


def test_a_pinned_mirror_vouches_for_the_box(out: Path, tmp_path: Path) -> None:
    box = minutes(Box())
    report = exported(box, out, trust=read_trust(box.trust(tmp_path / "keys", "mirror")))
    assert report.keys["box"] == "vouched for by iccc/mirror"
    assert report.verdict is Verdict.AUTHENTIC


def test_another_mirrors_key_makes_the_whole_clip_a_tail(out: Path, tmp_path: Path) -> None:
    box, other = minutes(Box()), Box()
    box.export(out)
    keys = tmp_path / "keys"
    keys.write_text(f"box {box.origin.vkey}\nmirror {other.mirror.key.vkey}\n")
    assert verify(out, read_trust(keys)).verdict is Verdict.UNANCHORED_TAIL


def test_an_exporter_that_nobody_pinned_is_not_believed(out: Path, tmp_path: Path) -> None:
    box, stranger = minutes(Box()), BoxKey(bytes(32))
    name = Verifier("somebody/else", stranger.public)
    vkeys = {**box.request().keys, "exporter": name.vkey}
    box.export(out, exporter=name, sign=stranger.sign, keys=vkeys)
    assert verify(out).verdict is Verdict.AUTHENTIC
    report = verify(out, read_trust(box.trust(tmp_path / "keys", "box", "mirror")))
    assert report.verdict is Verdict.NOT_AUTHENTIC
    assert "exporter's key somebody/else is not trusted" in report.reason


def test_somebody_elses_key_opens_nothing(out: Path) -> None:
    from edge_agent.errors import SealError

    box = minutes(Box())
    with pytest.raises(SealError, match="not sealed to"):
        box.export(out, keyring=Keyring(box.box.public, "site", generate_recipient()[0]))


@pytest.mark.parametrize(
    ("story", "code", "verdict"),
    [("whole", 0, "AUTHENTIC"), ("gap", 3, "AUTHENTIC_WITH_GAPS"), ("tail", 4, "UNANCHORED_TAIL"),
     ("altered", 5, "NOT_AUTHENTIC"), ("foreign", 6, "")],
)  # fmt: skip
def test_the_command_speaks_by_its_exit_code(out: Path, story: str, code: int, verdict: str) -> None:
    box = minutes(Box())
    if story == "gap":
        box.pause(9)
    if story == "tail":
        box.record(1, epoch=False)
    box.export(out)
    if story == "altered":
        raw = bytearray(out.read_bytes())
        raw[2000] ^= 1
        out.write_bytes(raw)
    if story == "foreign":
        out.write_bytes(b"not a zip")
    result = CliRunner().invoke(app, ["verify", str(out), "--json"])
    assert result.exit_code == code
    if verdict:
        assert json.loads(result.stdout)["verdict"] == verdict
    else:
        assert "no evidence package" in result.stderr


def test_the_words_name_camera_time_and_gap_and_move_no_cursor(out: Path) -> None:
    box = minutes(Box())
    box.pause(30, reason="\x1b[2Jno packets")
    box.record(2, epoch=False)
    box.mark()
    text = "\n".join(lines(exported(box, out)))
    assert text.startswith("AUTHENTIC_WITH_GAPS\n")
    assert "gap of 30.0 s" in text
    assert "clip.mp4 at 0:00:04" in text
    assert "cam-01 (Forecourt)" in text
    assert "\x1b" not in text
