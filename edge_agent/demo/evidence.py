"""What the command centre can prove about a box's ledger, recomputed from the leaves that its mirror stored.

Nobody's word is taken: neither the mirror's own sizes and marks, nor the box's status. Every stored leaf is
hashed again; the root must be the one that the box signed and that witness and mirror cosigned; and the box's
own files must hold together and begin with the same leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.demo import keyfile, settings
from edge_agent.demo.pki import Pki
from edge_agent.demo.settings import Layout
from edge_agent.errors import FormatError, LedgerError
from edge_agent.iccc.store import LedgerStore
from edge_agent.iccc.store_rows import Origin
from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger import leaf as leaves_
from edge_agent.ledger import merkle, verifier
from edge_agent.ledger.checkpoint import Verifier
from edge_agent.ledger.wire import WitnessNote


@dataclass(frozen=True, slots=True)
class Evidence:
    """`leaves` as the mirror stored them, in order; `problems` is empty when everything holds."""

    leaves: tuple[bytes, ...]
    cosigned: int
    problems: tuple[str, ...]


def gather(layout: Layout, pki: Pki) -> Evidence:
    """Best after the agent has stopped; one that runs may have signed more than its files show yet."""
    store = LedgerStore(layout.mirror)
    try:
        origin = store.of_site(settings.SITE)
        leaves = tuple(store.leaves(origin.name, 0, origin.size))
        frauds = [f"fraud: {fraud.reason}" for fraud in store.frauds()]
    except LedgerError as error:
        return Evidence((), 0, (str(error),))
    finally:
        store.close()
    public = settings.box_public(layout)
    key = Verifier(notes.origin_of(settings.SITE, public), public)
    cosigners = (
        Verifier.parse(keyfile.vkey(settings.WITNESS_NAME, pki.witness_key())),
        Verifier.parse(keyfile.vkey(settings.MIRROR_NAME, pki.mirror_key())),
    )
    problems = frauds + _signed(origin, leaves, key)
    cosigned, wrong = _cosigned(origin, leaves, key, cosigners)
    problems += wrong + _held_by_box(layout, leaves, key, cosigners)
    return Evidence(leaves, cosigned, tuple(problems))


def _signed(origin: Origin, leaves: tuple[bytes, ...], key: Verifier) -> list[str]:
    try:
        head, _ = notes.open_checkpoint(origin.checkpoint, key)
    except (FormatError, LedgerError) as error:
        return [f"the mirror's checkpoint: {error}"]
    fits = head.size == len(leaves) and _root(leaves) == head.root
    return [] if fits else ["the stored leaves do not give the root that the box signed"]


def _cosigned(
    origin: Origin, leaves: tuple[bytes, ...], key: Verifier, cosigners: tuple[Verifier, ...]
) -> tuple[int, list[str]]:
    if origin.note is None:
        return 0, ["nothing was cosigned"]
    try:
        head, note = notes.open_checkpoint(WitnessNote.decode(origin.note).mirror, key)
    except (FormatError, LedgerError) as error:
        return 0, [f"the cosigned checkpoint: {error}"]
    missing = [by.name for by in cosigners if notes.cosigned_at(note, by) is None]
    problems = [f"the checkpoint is not cosigned by {name}" for name in missing]
    if _root(leaves[: head.size]) != head.root:
        problems.append("the stored leaves do not give the cosigned root")
    return head.size, problems


def _held_by_box(
    layout: Layout, leaves: tuple[bytes, ...], key: Verifier, cosigners: tuple[Verifier, ...]
) -> list[str]:
    """The box's files, read by the verifier that shares no code with the ledger."""
    directory = layout.agent / "ledger"
    report = verifier.verify_directory(directory, vkey=key.vkey, cosigners=tuple(c.vkey for c in cosigners))
    problems = [f"the box's ledger: {problem}" for problem in report.problems]
    if tuple(verifier.read_leaves(directory)[: len(leaves)]) != leaves:
        problems.append("the box's ledger does not begin with the leaves that the mirror stored")
    return problems


def _root(leaves: tuple[bytes, ...]) -> bytes:
    return merkle.root([leaves_.entry_hash(leaf) for leaf in leaves])
