"""docs/nights.md says what the code does: every verdict, every column, a sample that loads."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from edge_agent.agent.nights_table import COLUMNS
from edge_agent.health import wording
from edge_agent.health.decisions import Verdict
from edge_agent.health.nights_leaf import CameraRow, NightPart, OutageRow
from edge_agent.health.policy import DutyPolicy

PAGE = (Path(__file__).resolve().parents[2] / "docs/nights.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`(\w+)`", PAGE))


def test_every_verdict_has_words_for_people_and_stands_on_the_page() -> None:
    own = {"agent_off", "ledger_hole", "no_record", "starting"}
    known = {verdict.value for verdict in Verdict} | own
    assert set(wording.KNOWN) == known
    assert known - NAMED <= {"clock_step", "agent_off"}  # told elsewhere; never a camera's reason for long


def test_every_field_of_the_leaf_and_the_first_columns_stand_on_the_page() -> None:
    for model in (NightPart, CameraRow, OutageRow):
        assert set(model.model_fields) <= NAMED, model
    assert {name for name in COLUMNS if not name.startswith("night_")} <= NAMED


def test_the_sample_policy_loads() -> None:
    (sample,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    policy = DutyPolicy.model_validate(tomllib.loads(sample))
    assert policy.of_kind("school").required_days == 15
    assert policy.of_kind("liquor_shop") == policy.default
