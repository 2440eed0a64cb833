"""`doctor`: what stands between this box and the command centre, in plain words."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from edge_agent.cli.context import ConfigOption, JsonOption, load_config, print_json
from edge_agent.config import Config
from edge_agent.errors import EdgeAgentError
from edge_agent.uplink.probe_judge import State, Step

app = typer.Typer(help="Find out what is wrong with this box; without a word: its link.")
WIDTH, INDENT = 80, 26


@app.callback(invoke_without_command=True)
def doctor(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        context.invoke(link, context)


@app.command("link")
def link(
    context: typer.Context,
    seconds: Annotated[float, typer.Option(min=1, max=60, help="How long the line is filled.")] = 5.0,
    budget_mb: Annotated[
        float, typer.Option("--budget-mb", min=0.1, max=200, help="At most so much is sent.")
    ] = 3.0,
    nat: Annotated[
        bool, typer.Option("--nat", help="Try how long an idle connection lives: up to 9 minutes.")
    ] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Measure the line to the command centre and say what it carries; exit code 1 if something is bad.

    The running agent keeps its connection. Nothing is measured while somebody watches.
    """
    from edge_agent.cli.doctor_link import PAUSES_S, Asked, LinkDoctor
    from edge_agent.clock import SystemClock
    from edge_agent.host.timesync import ClockWatch

    found = load_config(context, config)
    asked = Asked(seconds, int(budget_mb * 1e6), PAUSES_S if nat else ())
    tell: Callable[[Step], None] = _unheard if json else _print_step
    clock = SystemClock(ClockWatch())
    report = LinkDoctor(found, lambda: _status(found), clock, tell, _busy).examine(asked)
    _wipe()
    if json:
        print_json(report.document())
    raise typer.Exit(0 if report.good else 1)


def step_view(step: Step) -> str:
    """One step in lines of at most 80 columns."""
    head = f"{step.state.value:<5}{step.name:<21}"
    lines = textwrap.wrap(step.sentence, WIDTH - INDENT)
    if step.next:
        lines += textwrap.wrap(f"-> {step.next}", WIDTH - INDENT, subsequent_indent="   ")
    return "\n".join((head if n == 0 else " " * INDENT) + line for n, line in enumerate(lines))


def _print_step(step: Step) -> None:
    colour = {State.GOOD: "green", State.NOTE: "yellow", State.BAD: "red"}[step.state]
    mark, rest = step_view(step)[:5], step_view(step)[5:]
    _wipe()
    typer.echo((mark if os.environ.get("NO_COLOR") else typer.style(mark, fg=colour)) + rest)


def _unheard(_step: Step) -> None:
    return None


def _busy(words: str) -> None:
    """On a terminal, one line that says what takes so long, until the next step wipes it."""
    _wipe()
    if sys.stderr.isatty():
        print(f"{words}...", end="", file=sys.stderr, flush=True)


def _wipe() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _status(config: Config) -> dict[str, Any] | None:
    """None when no agent runs here or we may not ask it."""
    from edge_agent.host.control import call

    socket: Path = config.control_socket
    try:
        return call(socket, "status", {}, timeout_s=5.0)
    except (EdgeAgentError, OSError):
        return None
