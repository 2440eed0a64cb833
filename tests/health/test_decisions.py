"""Decisions as leaves: small, complete, and silent about people."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from storyteller import PERSONS

import edge_agent.health
from edge_agent.health import wording
from edge_agent.health.decisions import (
    MAX_LEAF_BYTES,
    CameraTurned,
    Cause,
    Evidence,
    Incident,
    IncidentClosed,
    IncidentOpened,
    Planned,
    Scope,
    Sight,
    Verdict,
)
from edge_agent.model import Instant

ROOM = Path(edge_agent.health.__file__).parent
NOW = Instant(1_790_000_000_000_000, 5_000_000_000)
LONG = tuple(Evidence("packets", "\u0915" * 200, NOW.wall_us) for _ in range(20))


def size(leaf: object) -> int:
    return len(json.dumps(leaf, ensure_ascii=False, separators=(",", ":")).encode())


def incident(cameras: int, evidence: tuple[Evidence, ...]) -> Incident:
    names = tuple(f"{number:02d}-{'c' * 29}" for number in range(cameras))
    cause = Cause(Verdict.DVR_OFF, 70, evidence)
    return Incident("0a.1", Scope.RECORDER, "dvr", cause, names, NOW, None, Planned("x" * 300, 1))


def test_a_leaf_of_many_cameras_and_long_evidence_stays_within_two_kilobytes() -> None:
    leaf = IncidentOpened(NOW, incident(64, LONG)).to_leaf()
    assert size(leaf) <= MAX_LEAF_BYTES
    cameras, more = leaf["cameras"], leaf["more"]
    assert isinstance(cameras, list)
    assert isinstance(more, int)
    assert len(cameras) + more == 64


def test_a_camera_s_leaf_has_the_strongest_evidence_only() -> None:
    turn = CameraTurned(
        NOW, "cam-01", Sight.UP, NOW, Sight.DARK, NOW, Cause(Verdict.DVR_OFF, 70, LONG), "0a.1"
    )
    leaf = turn.to_leaf()
    assert size(leaf) <= MAX_LEAF_BYTES
    assert isinstance(leaf["evidence"], list)
    assert len(leaf["evidence"]) == 2


def test_sixteen_cameras_fit_whole() -> None:
    leaf = IncidentClosed(NOW, incident(16, LONG[:1])).to_leaf()
    assert "more" not in leaf
    assert leaf["step"] == "closed"


def test_equal_decisions_give_equal_bytes_in_the_same_order() -> None:
    first, second = (IncidentOpened(NOW, incident(4, LONG[:2])) for _ in range(2))
    assert first == second
    assert json.dumps(first.to_leaf()) == json.dumps(second.to_leaf())
    assert first != IncidentClosed(NOW, first.incident)


@pytest.mark.parametrize("file", ["says.py", "slate.py", "verdict.py", "links.py", "box.py"])
def test_no_sentence_of_evidence_names_a_person_or_a_motive(file: str) -> None:
    tree = ast.parse((ROOM / file).read_text())
    documents = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
        and isinstance(node.body[0], ast.Expr)
    }
    sentences = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents
    ]
    assert not [sentence for sentence in sentences if PERSONS.search(sentence)]


def test_no_verdict_is_the_name_of_a_deed_nor_its_words() -> None:
    assert not [verdict for verdict in Verdict if PERSONS.search(verdict.replace("_", " "))]
    assert not [verdict for verdict in wording.KNOWN if PERSONS.search(wording.now(verdict))]
    assert not [verdict for verdict in wording.KNOWN if PERSONS.search(wording.then(verdict))]


def test_a_screen_that_repeats_is_told_as_what_was_seen_whatever_stands_on_it() -> None:
    assert wording.now("no_signal_slate") == "a still screen comes in place of this camera's picture"
    assert wording.then("of_tomorrow") == "of tomorrow"
