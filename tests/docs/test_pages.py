"""The pages hold together: links lead somewhere, commands and options exist, decisions are told alike."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main

from edge_agent.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
DECISIONS = sorted((ROOT / "docs/adr").glob("[0-9]*.md"))
OTHERS = {"cryptography", "run"}  # what stands in backticks and is no module of the room
MAKE = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
CALL = re.compile(r"(?:^ {4}|`)(?:sudo )?(?:\.venv/bin/)?edge-agent ([^`#\n]+)", re.MULTILINE)
COMMANDS: Any = typer.main.get_command(app)
COLUMN = "  "  # what follows two blanks in a list explains the command


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """As the common renderers make them of headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {text.strip().replace(" ", "-") for text in plain}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        led = (page.parent / path).resolve() if path else page
        assert led.exists(), target
        assert not anchor or anchor in anchors(led), target


def options_of(words: list[str]) -> set[str]:
    """The options of the command that these words name."""
    command: Any = COMMANDS
    for word in words:
        if not hasattr(command, "commands"):
            break
        assert word in command.commands, f"there is no edge-agent {' '.join(words)}"
        command = command.commands[word]
    return {option for parameter in command.params for option in parameter.opts} | {"--help"}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_and_option_exists(page: Path) -> None:
    for call in CALL.findall(page.read_text(encoding="utf-8")):
        words = shlex.split(call.split(COLUMN)[0])
        asked = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert asked <= options_of(words), f"edge-agent {call}"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_make_target_exists(page: Path) -> None:
    told = re.findall(r"(?:^ {4}|`)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(told) <= MAKE


def test_every_test_and_module_that_a_page_names_exists() -> None:
    sources = [*ROOT.glob("edge_agent/**/*.py"), *ROOT.glob("tests/**/*.py"), *ROOT.glob("bench/**/*.py")]
    files = {name(source) for source in sources}
    defined = {
        test for source in sources for test in re.findall(r"^def (test_\w+)", source.read_text(), re.M)
    }
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert set(re.findall(r"`(test_\w+)`", text)) <= defined, name(page)
        assert set(re.findall(r"`((?:edge_agent|tests|bench)/[\w/]+\.py)`", text)) <= files, name(page)


def test_every_room_says_what_it_is_and_names_only_what_it_has() -> None:
    for room in ROOT.glob("edge_agent/**/__init__.py"):
        told = ast.get_docstring(ast.parse(room.read_text(encoding="utf-8")))
        assert told, name(room)
        named = set(re.findall(r"`([a-z][a-z0-9_]*/?)`", told)) - OTHERS
        assert all(
            (room.parent / f"{word}.py").exists() or (room.parent / word).is_dir() for word in named
        ), named


@pytest.mark.parametrize("page", DECISIONS, ids=name)
def test_every_decision_says_what_why_and_at_what_cost(page: Path) -> None:
    told = re.findall(r"^\*\*([\w' ]+)\.\*\*", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert told == ["Status", "Context", "Decision", "Why", "Consequences", "What would change it"]
    assert page.name in (page.parent / "README.md").read_text(encoding="utf-8")


def test_the_glossary_is_in_order_and_says_each_word_once() -> None:
    words = re.findall(
        r"^\*\*(.+?)\.\*\*", (ROOT / "docs/glossary.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert words == sorted(set(words), key=str.lower)
    assert len(words) > 60


def test_the_first_page_fits_a_terminal_and_its_pictures_a_slow_line() -> None:
    assert [
        line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if len(line) > 110
    ] == []
    heavy = {name(p) for p in (ROOT / "docs/pictures").iterdir() if p.stat().st_size > 300_000}
    assert heavy == set()
