"""docs/config.md says the truth: every sample loads, every key is told, with its real default."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel, SecretStr

from edge_agent import config

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/config.md").read_text(encoding="utf-8")
SAMPLES = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
SECTIONS: dict[str, type[BaseModel]] = {
    "[site]": config.Site,
    "[[recorders]]": config.Recorder,
    "[[cameras]]": config.CameraEntry,
    "[discovery]": config.Discovery,
    "[capture]": config.Capture,
    "[ring]": config.Ring,
    "[ring.main] and [ring.sub]": config.RingClass,
    "[ring.evidence]": config.Evidence,
    "[keys]": config.Keys,
    "[uplink]": config.Uplink,
    "[snapshots]": config.Snapshots,
    "[power]": config.Power,
    "[watch]": config.Watch,
    "[state]": config.State,
}


def _rows(heading: str) -> Iterator[tuple[str, str]]:
    """Key and default of each row of the table under a heading."""
    after = PAGE.split(f" {heading}\n", 1)[1]
    table = re.split(r"^#", after, maxsplit=1, flags=re.MULTILINE)[0]
    for key, default in re.findall(r"^\| `(\w+)` \| (.*?) \|", table, re.MULTILINE):
        yield key, default.split(" (")[0].strip("`")


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda s: s.splitlines()[0])
def test_every_sample_loads(sample: str) -> None:
    config.parse(tomllib.loads(sample))


def test_the_installed_sample_loads_and_asks_to_be_changed() -> None:
    assert config.load(ROOT / "installer/edge-agent.toml").site.id == "change-me"


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_key_is_told_with_its_default(heading: str) -> None:
    told = dict(_rows(heading))
    fields = SECTIONS[heading].model_fields
    classes = ("main", "sub", "evidence") if heading == "[ring]" else ()  # told in a section of their own
    assert told == {
        name: "required" if field.is_required() else _text(field.default)
        for name, field in fields.items()
        if name not in classes
    }


def test_every_table_has_its_section() -> None:
    tables = {name for name, field in config.Config.model_fields.items() if field.annotation is not str}
    told = {re.split(r"[.\]]", heading.strip("["))[0] for heading in SECTIONS}
    assert tables - {"log_level"} == told
    assert dict(_rows("Top level")) == {"log_level": '"INFO"'}


def test_the_classes_differ_as_told() -> None:
    ring = config.Ring()
    assert f"`{ring.main.max_bytes}` (sub: `{ring.sub.max_bytes}`)" in PAGE
    assert f"`{ring.main.sync_s}` (sub: `{ring.sub.sync_s}`)" in PAGE


def _text(default: object) -> str:
    """A default as TOML writes it; `none` where TOML has no word."""
    if default is None:
        return "none"
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    return json.dumps(str(default) if isinstance(default, Path) else default)
