"""The test vector of docs/ledger.md, read from the page itself."""

from __future__ import annotations

import textwrap
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger import leaf as leaves_
from edge_agent.ledger import merkle, parts
from edge_agent.ledger.checkpoint import Verifier

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "ledger.md").read_text(encoding="utf-8")


def blocks() -> list[str]:
    """The indented blocks of the last section, without their indentation."""
    section = PAGE.split("## Test vector")[1]
    lines = [line if line.startswith("    ") or not line else "---" for line in section.splitlines()]
    return [textwrap.dedent(block).strip("\n") for block in "\n".join(lines).split("---") if block.strip()]


def test_the_documented_vector_is_what_the_code_makes() -> None:
    tree, signed = blocks()
    leaf_text, hash_text, root = tree.split("\n\n")
    note_text, keys = signed.rsplit("\n\n", 1)
    leaves = [line.encode() for line in leaf_text.split("\n")]
    assert [leaves_.decode(leaf).kind for leaf in leaves] == ["boot", "camera", "gap"]
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    assert [hash_.hex() for hash_ in hashes] == hash_text.split("\n")
    assert merkle.root(hashes).hex() == root
    framed = parts.frame(leaves[2]).hex()
    assert (framed[:16], framed[-8:]) == ("0000005f7b227622", "47f82f2e")

    box = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    mirror = Ed25519PrivateKey.from_private_bytes(bytes(32))
    log_key, mirror_key = (Verifier.parse(key) for key in keys.split("\n"))
    head, note = notes.open_checkpoint(note_text + "\n", log_key)
    assert (head.size, head.root.hex()) == (3, root)
    assert head.origin == notes.origin_of("pump-7", box.public_key().public_bytes_raw())
    assert notes.cosigned_at(note, mirror_key) == 1_790_000_300
    made = notes.sign(head, log_key.public, box.sign)
    made = made.with_signature(notes.cosign(made, mirror_key, mirror.sign, 1_790_000_300))
    assert str(made) == note_text + "\n"
