"""The box's ledger in the package: signed heads, leaves with proofs, and which records its marks name."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass

from edge_agent.verify.manifest import MAX_JSON_BYTES, Malformed, canonical
from edge_agent.verify.notes import Head, Key, cosigned_at, head_of, included, root_of
from edge_agent.verify.records import FRAGMENT, Row, tip_of
from edge_agent.verify.report import Findings, Tail

MAX_PROOF = 64
NOT_MARKED = "no minute mark in the box's ledger names them yet"
NOT_COSIGNED = (
    "the box has signed for them, but no mirror of the command centre that is trusted here has cosigned"
)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf whose proof holds. `cosigned`: it stands under the head that the mirror signed."""

    index: int
    kind: str
    data: dict[str, object]
    cosigned: bool


@dataclass(frozen=True, slots=True)
class Ledger:
    leaves: dict[int, Leaf]
    cosigned_s: int | None
    witnessed_s: int | None


@dataclass(frozen=True, slots=True)
class Anchors:
    """Rows that a mark leads to: `marked` by the box's word, `cosigned` by the command centre's too."""

    marked: frozenset[int]
    cosigned: frozenset[int]


def read_ledger(raw: bytes, box: Key, mirror: Key | None, witness: Key | None, findings: Findings) -> Ledger:
    """Check every note and every leaf. A cosignature counts only by the key that is given."""
    try:
        document = canonical(raw, MAX_JSON_BYTES)
    except Malformed as error:
        findings.add("ledger.json", str(error))
        return Ledger({}, None, None)
    heads: dict[str, Head] = {}
    times: dict[str, int | None] = {}
    for name, cosigner in (("own", None), ("cosigned", mirror), ("witnessed", witness)):
        note = document.get(name)
        if not isinstance(note, str) or (not note and name != "own"):
            continue
        head = head_of(note, box)
        if (
            not findings.check(head is not None, "ledger.json", f"the {name} checkpoint is not the box's")
            or not head
        ):
            continue
        times[name] = cosigned_at(note, cosigner) if cosigner else None
        if cosigner is None or findings.check(
            times[name] is not None, "ledger.json", f"the {name} checkpoint is not signed by {cosigner.name}"
        ):
            heads[name] = head
    leaves = _leaves(document.get("leaves"), heads, times.get("cosigned") is not None, findings)
    return Ledger(leaves, times.get("cosigned"), times.get("witnessed"))


def anchors_of(
    rows: Sequence[Row],
    tips: Sequence[tuple[Row, list[bytes]]],
    ledger: Ledger,
    camera: str,
    findings: Findings,
) -> Anchors:
    """From the marks' tips backwards along the digests. Another digest than a mark's is a contradiction."""
    marks = {str(leaf.data.get("tips")): leaf for leaf in ledger.leaves.values() if leaf.kind == "mark"}
    named: dict[bytes, bool] = {}
    for number, (_, listed) in enumerate(tips):
        mark = marks.get(_short64(root_of(listed)))
        if not findings.check(
            mark is not None, "tips.bin", f"record {number} is not what any mark has signed"
        ):
            continue
        for tip in listed:
            named[tip] = named.get(tip, False) or bool(mark and mark.cosigned)
    identities = {tip[:40]: tip for tip in named}
    for row in rows:
        tip = tip_of(row)
        other = identities.get(tip[:40])
        fits = other is None or tip in named
        findings.check(
            fits, "records.bin", "a minute mark names another record in its place", row.place(camera)
        )
    marked = {tip_of(row) for row in rows} & set(named)
    sure = {tip for tip in marked if named[tip]}
    return Anchors(_led_to(rows, marked), _led_to(rows, sure))


def tails_of(rows: Sequence[Row], anchors: Anchors, camera: str) -> list[Tail]:
    """Runs of fragments that the command centre has not anchored."""
    tails: list[Tail] = []
    run: list[tuple[Row, str]] = []
    for i, row in enumerate(rows):
        if row.kind != FRAGMENT:
            continue
        why = "" if i in anchors.cosigned else NOT_COSIGNED if i in anchors.marked else NOT_MARKED
        if run and run[-1][1] != why:
            tails.append(_tail(run, camera))
            run = []
        if why:
            run.append((row, why))
    return [*tails, _tail(run, camera)] if run else tails


def _tail(run: Sequence[tuple[Row, str]], camera: str) -> Tail:
    return Tail(run[0][0].place(camera), run[-1][0].place(camera), len(run), run[0][1])


def _led_to(rows: Sequence[Row], tips: set[bytes]) -> frozenset[int]:
    found: set[int] = set()
    following, leads = b"", False
    for i in range(len(rows) - 1, -1, -1):
        row = rows[i]
        leads = tip_of(row) in tips or (leads and following == row.digest)
        following = row.prev
        if leads:
            found.add(i)
    return frozenset(found)


def _leaves(listed: object, heads: dict[str, Head], cosigned: bool, findings: Findings) -> dict[int, Leaf]:
    leaves: dict[int, Leaf] = {}
    before = -1
    for number, told in enumerate(listed if isinstance(listed, list) else [None]):
        leaf = _leaf(told, heads, cosigned)
        if leaf is None or leaf.index <= before:
            index = told.get("index") if isinstance(told, dict) else "?"
            findings.add("ledger.json", f"leaf {index} (entry {number}) does not stand where it says")
            continue
        before = leaf.index
        leaves[leaf.index] = leaf
    return leaves


def _leaf(told: object, heads: dict[str, Head], cosigned: bool) -> Leaf | None:
    if not isinstance(told, dict) or set(told) != {"index", "leaf", "proof", "under"}:
        return None
    index, text, proof, head = told["index"], told["leaf"], told["proof"], heads.get(str(told["under"]))
    if type(index) is not int or not isinstance(text, str) or not isinstance(proof, list) or head is None:
        return None
    try:
        path = [base64.b64decode(part, validate=True) for part in proof[: MAX_PROOF + 1]]
        fact = json.loads(text)
        kind, data = str(fact["type"]), fact["data"]
        holds = len(path) <= MAX_PROOF and included(text.encode(), index, path, head)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    if not holds or not isinstance(data, dict):
        return None
    return Leaf(index, kind, data, cosigned and told["under"] == "cosigned")


def _short64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
