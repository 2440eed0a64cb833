"""`seal`: what sealing, hashing and the ledger add to plain remuxing, each taken away in turn."""

from __future__ import annotations

import statistics
from pathlib import Path

from bench.parties import REMUX, Agent, recorder
from bench.steady import Plan, ratios, shown, take_turns
from bench.table import Row, table


def run(directory: Path, cameras: int, plan: Plan) -> str:
    with recorder(cameras) as dvr:
        makers = (
            lambda: Agent(dvr, directory / "agent", cameras),
            lambda: Agent(dvr, directory / "remux", cameras, name="remux", command=REMUX),
            lambda: Agent(dvr, directory / "seal", cameras, name="seal", command=(*REMUX, "--seal")),
        )
        shares = take_turns(makers, plan)
    sealed, whole = (ratios(shares[name], shares["remux"]) for name in ("seal", "agent"))
    added = statistics.median(1 - 1 / ratio for ratio in whole)
    rows: list[Row] = [
        ("sealing, capture and ring over capture and ring alone", shown(sealed), ""),
        ("whole agent over capture and ring alone", shown(whole), ""),
        ("share of the agent's CPU that is added", f"{added:.0%}", "25 %"),
    ]
    title = f"What sealing, hashing and the ledger add, {cameras} cameras"
    return table(title, ("what", "measured", "aim"), rows)
