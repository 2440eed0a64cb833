"""More than forty outage stories on the real agent: what is told, how soon, and never an accusation.

Six shops live at once, each in five network namespaces of its own, and each through one story after another.
Settable clocks of the box are left to the stories at signal level (tests/health): it has no seam for them.

    python tests/long/stories.py                 all of them
    python tests/long/stories.py --only router   those whose name this expression finds
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "stories"))

from story import Outcome, Story, play
from table import STORIES
from world import World

KINDS = (
    (False, False),
    (False, False),
    (False, True),
    (True, False),
    (True, True),
    (True, True),
)  # night, UPS
NEEDED = 0.95
PASSES = 70.0  # seconds that a story takes apart from its own steps


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="stories whose name this expression finds")
    parser.add_argument("--shop", type=int, help="(internal) live through the stories of this shop")
    options = parser.parse_args()
    chosen = tuple(story for story in STORIES if re.search(options.only, story.name))
    shops = share_out(chosen)
    if options.shop is not None:
        live(options.shop, shops[options.shop])
        return 0
    began = time.monotonic()
    outcomes = gather(options.only, shops)
    return report(chosen, outcomes, time.monotonic() - began)


def share_out(stories: tuple[Story, ...]) -> list[list[Story]]:
    """Every shop its stories: those that not every shop can play first, then to the least busy one."""
    shops: list[list[Story]] = [[] for _ in KINDS]
    busy = [0.0] * len(KINDS)
    choosy = sorted(stories, key=lambda story: (story.last, (story.night is None) + (story.ups is None)))
    for story in choosy:
        fitting = [
            i for i, (night, ups) in enumerate(KINDS)
            if story.night in (None, night) and story.ups in (None, ups)
        ]  # fmt: skip
        shop = min(fitting, key=lambda i: busy[i])
        shops[shop].append(story)
        busy[shop] += PASSES + story.quiet_s / 2
    return shops


def live(shop: int, stories: list[Story]) -> None:
    """One shop's life, an outcome a line on standard output."""
    night, ups = KINDS[shop]
    with tempfile.TemporaryDirectory() as state, World(Path(state), night=night, ups=ups) as world:
        world.get_ready()
        for story in stories:
            outcome = play(story, world)
            print(json.dumps(asdict(outcome)), flush=True)
            print(
                f"shop {shop}: {'right' if outcome.right else outcome.wrongs}: {story.name}", file=sys.stderr
            )


def gather(only: str, shops: list[list[Story]]) -> list[Outcome]:
    """All shops at once; a word on each story as it ends."""
    command = [sys.executable, __file__, "--only", only, "--shop"]
    lives = [
        subprocess.Popen([*command, str(i)], stdout=subprocess.PIPE, text=True)
        for i, stories in enumerate(shops) if stories
    ]  # fmt: skip
    outcomes = []
    for life in lives:
        assert life.stdout is not None
        for line in life.stdout:
            outcomes.append(Outcome(**json.loads(line)))
        life.wait(60)
    return outcomes


def report(chosen: tuple[Story, ...], outcomes: list[Outcome], took_s: float) -> int:
    width = max(len(story.name) for story in chosen)
    for told in outcomes:
        seconds = f"{told.seconds:5.1f} s" if told.seconds is not None else "   later" if told.right else ""
        right = "right" if told.right else "WRONG"
        flags = " LATE" * told.late + " ACCUSES" * told.accuses
        print(f"{told.name:{width}}  {right}  {seconds:>8}{flags}  {told.verdicts}")
        for wrong in told.wrongs:
            print(f"{'':{width}}    {wrong}")
        for line in told.history:
            print(f"        {line}")
    right, late = sum(o.right for o in outcomes), sum(o.late for o in outcomes)
    accused, lost = sum(o.accuses for o in outcomes), len(chosen) - len(outcomes)
    print(
        f"{right} of {len(chosen)} stories right, {late} late, {accused} accusing, {lost} not told;"
        f" {took_s:.0f} s"
    )
    return int(right < NEEDED * len(chosen) or bool(late or accused or lost))


if __name__ == "__main__":
    sys.exit(main())
