"""A report in sentences, for a terminal. What comes from the package loses its control characters."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from edge_agent.verify.report import Missing, Place, Problem, Report, Tail, Verdict

SHOWN = 20


def lines(report: Report) -> Iterator[str]:
    """The verdict first, then why, then what the package says of itself."""
    zone = _zone(report)
    yield report.verdict.value
    yield _plain(report.reason)
    for problem in report.problems[:SHOWN]:
        yield f"  {_problem(problem, zone)}"
    more = len(report.problems) - SHOWN + report.more_problems
    if more > 0:
        yield f"  and {more} more"
    for tail in report.tails[:SHOWN]:
        yield f"  {_tail(tail, zone)}"
    for gap in report.gaps[:SHOWN]:
        yield f"  {_gap(gap, zone)}"
    if len(report.gaps) > SHOWN:
        yield f"  and {len(report.gaps) - SHOWN} more gaps"
    yield from _about(report, zone)


def _about(report: Report, zone: tzinfo) -> Iterator[str]:
    camera, exported = _dict(report.facts.get("camera")), _dict(report.facts.get("exported"))
    site = _dict(report.facts.get("site"))
    if camera:
        span = f"{_time(report.facts.get('from_us'), zone)} to {_time(report.facts.get('to_us'), zone)}"
        name = f"{_plain(camera.get('id'))} ({_plain(camera.get('name'))})"
        yield f"camera {name} of {_plain(site.get('name'))}, {span}"
        yield (
            f"exported by {_plain(exported.get('by'))}, {_case(exported)}, "
            f"{_plain(report.facts.get('statement'))}"
        )
    # Of a package that was changed, neither says anything of the pictures in it.
    sound = report.verdict is not Verdict.NOT_AUTHENTIC
    if camera and sound:
        yield f"{report.anchored} of {report.fragments} fragments are anchored by the command centre"
    if sound and report.cosigned_s is not None:
        yield f"the command centre had it no later than {_time(report.cosigned_s * 1_000_000, zone)}"
    yield report.trust
    for part, word in report.keys.items():
        yield f"  {part}: {word}"


def _case(exported: dict[str, object]) -> str:
    case = _plain(exported.get("case"))
    return f"case {case}" if case not in ("", "-") else "no case named"


def _problem(problem: Problem, zone: tzinfo) -> str:
    where = f" [{_place(problem.place, zone)}]" if problem.place else ""
    return f"{_plain(problem.what)}: {_plain(problem.text)}{where}"


def _tail(tail: Tail, zone: tzinfo) -> str:
    return (
        f"{tail.fragments} fragments from {_place(tail.first, zone)} to {_place(tail.last, zone)}: "
        f"{_plain(tail.text)}"
    )


def _gap(gap: Missing, zone: tzinfo) -> str:
    seconds = (gap.to_us - gap.from_us) / 1e6
    at = f"{_plain(gap.clip)} at {timedelta(seconds=gap.at_us // 1_000_000)}"
    span = f"{_time(gap.from_us, zone)} to {_time(gap.to_us, zone)}"
    return f"gap of {seconds:.1f} s, {span} ({at}): {_plain(gap.cause)}"


def _place(place: Place, zone: tzinfo) -> str:
    clip = f" in {_plain(place.clip)}" if place.clip else ""
    return (
        f"{_plain(place.camera)} {_time(place.wall_us, zone)}, epoch {place.epoch[:8]} record {place.n}{clip}"
    )


def _zone(report: Report) -> tzinfo:
    try:
        return ZoneInfo(str(_dict(report.facts.get("site")).get("timezone", "UTC")))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC


def _time(wall_us: object, zone: tzinfo) -> str:
    if not isinstance(wall_us, int):
        return "?"
    try:
        return f"{datetime.fromtimestamp(wall_us / 1e6, zone):%Y-%m-%d %H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return f"{wall_us} us"


def _dict(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _plain(value: object) -> str:
    """Nothing in a package may move the cursor of whoever reads the report."""
    text = value if isinstance(value, str) else ""
    return "".join(c if c.isprintable() else "?" for c in text)[:300]
