"""`replay`: the night watch over recorded signals again, and what it decides otherwise than before."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from edge_agent.cli.context import ConfigOption, JsonOption, load_config
from edge_agent.clock import timestamp
from edge_agent.errors import ConfigError, EdgeAgentError
from edge_agent.health import replay as watch
from edge_agent.health.decisions import CameraTurned, Decision, Json
from edge_agent.health.replay import Difference, Story

FILES = "signals-*.jsonl"


def replay(
    context: typer.Context,
    log: Annotated[Path, typer.Argument(help="A signal log: one file, or the directory of all.")],
    against: Annotated[
        Path | None,
        typer.Option(help="Compare: what `replay --json` printed before, or a ledger's directory."),
    ] = None,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Decide again from recorded signals. With --against, exit code 1 if incidents differ."""
    run = watch.Replay(_lines(log))
    decisions = list(run)
    if run.skipped:
        print(f"{run.skipped} lines are no signals and were left out", file=sys.stderr)
    if not run.signals:
        raise EdgeAgentError(f"{log}: no signal in it; the agent keeps its log in state/signals")
    if json:
        sys.stdout.buffer.writelines(watch.line(decision) + b"\n" for decision in decisions)
        sys.stdout.flush()
    zone = _zone(context, config)
    if against is None:
        if not json:
            _print(decisions, run.signals, zone)
        return
    found = _compare(against, decisions, run)
    if not json:
        _print_differences(found, zone)
    if found:
        raise typer.Exit(1)


def _lines(log: Path) -> Iterator[bytes]:
    files = sorted(log.glob(FILES)) if log.is_dir() else [log]
    if not files:
        raise EdgeAgentError(f"{log}: no {FILES} in it")
    for file in files:
        try:
            with file.open("rb") as lines:
                yield from lines
        except OSError as error:
            raise EdgeAgentError(f"{file}: {error.strerror}") from error


def _zone(context: typer.Context, config: Path | None) -> ZoneInfo | None:
    """The site's; a log that was carried to another machine is told in UTC."""
    try:
        return ZoneInfo(load_config(context, config).site.timezone)
    except (ConfigError, OSError):
        return None


def _compare(against: Path, decisions: Sequence[Decision], run: watch.Replay) -> list[Difference]:
    """Only what began while the log was kept: a ledger goes further back."""
    before = _leaves_of(against) if against.is_dir() else _printed(against)
    known = [s for s in watch.stories(before) if run.first <= s.since <= run.last]
    told = [d.to_leaf() for d in decisions if not isinstance(d, CameraTurned)]
    return watch.differences(known, [s for s in watch.stories(told) if s.since >= run.first])


def _printed(file: Path) -> Iterator[dict[str, Json]]:
    """Incidents out of what `replay --json` wrote."""
    import json

    try:
        with file.open("rb") as lines:
            told = [json.loads(line) for line in lines if line.strip()]
        yield from (fact["data"] for fact in told if fact["type"] == "incident")
    except OSError as error:
        raise EdgeAgentError(f"{file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise EdgeAgentError(f"{file}: not what `replay --json` prints") from error


def _leaves_of(directory: Path) -> list[dict[str, Json]]:
    """Incidents out of a ledger, oldest first."""
    from edge_agent.errors import FormatError
    from edge_agent.ledger import history, leaf

    found: list[dict[str, Json]] = []
    for _, entry in history.newest_first(directory):
        try:
            fact = leaf.decode(entry) if entry is not None else None
        except FormatError:
            continue
        if fact is not None and fact.kind == "incident":
            found.append(dict(fact.data))  # type: ignore[arg-type]
    return found[::-1]


def _print(decisions: Sequence[Decision], signals: int, zone: ZoneInfo | None) -> None:
    for decision in decisions:
        print(f"{_local(timestamp(decision.at.wall_us), zone)}  {_described(decision, zone)}")
    told = watch.stories(d.to_leaf() for d in decisions if not isinstance(d, CameraTurned))
    counts = ((signals, "signal"), (len(decisions), "decision"), (len(told), "incident"))
    print("\n" + ", ".join(f"{count} {noun}{'s' * (count != 1)}" for count, noun in counts))
    for verdict, count in sorted(Counter(story.verdict for story in told).items()):
        print(f"{count:>6}  {verdict}")


def _described(decision: Decision, zone: ZoneInfo | None) -> str:
    if isinstance(decision, CameraTurned):
        why = f" ({decision.cause.verdict})" if decision.cause else ""
        since = _local(timestamp(decision.since.wall_us), zone)
        return f"{decision.camera}: {decision.before} -> {decision.state}{why} since {since}"
    incident, cause = decision.incident, decision.incident.cause
    step = type(decision).__name__.removeprefix("Incident").lower()
    into = f", goes on as {decision.into}" if decision.into else ""
    what = " ".join(filter(None, [incident.scope, incident.subject]))
    count = len(incident.cameras)
    cameras = f", {count} camera{'s' * (count != 1)}" if count else ""
    return f"{incident.id} {step}: {what}: {cause.verdict} {cause.confidence} %{cameras}{into}"


def _print_differences(found: Sequence[Difference], zone: ZoneInfo | None) -> None:
    for difference in found:
        known = difference.after or difference.before
        assert known is not None
        print(f"{_local(known.since, zone)}  {' '.join(filter(None, [known.scope, known.subject]))}")
        print(f"    before: {_story(difference.before, zone)}")
        print(f"    now:    {_story(difference.after, zone)}")
    count = len(found)
    print(f"{count} incident{'s differ' if count != 1 else ' differs'}" if count else "no incident differs")


def _story(story: Story | None, zone: ZoneInfo | None) -> str:
    if story is None:
        return "not told"
    until = f"until {_local(story.until, zone)}" if story.until else "still open"
    return f"{story.verdict} {story.confidence} %, {story.cameras} cameras, {until}"


def _local(stamp: str, zone: ZoneInfo | None) -> str:
    try:
        moment = datetime.fromisoformat(stamp.replace("Z", "+00:00")).astimezone(zone or UTC)
    except ValueError:
        return stamp
    return f"{moment:%Y-%m-%d %H:%M:%S} {moment.tzname()}"
