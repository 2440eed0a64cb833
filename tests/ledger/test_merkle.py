"""The tree against the published Certificate Transparency vectors and against its own definition."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.ledger import merkle

LEAVES = [bytes.fromhex(x) for x in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657",
                                     "606162636465666768696a6b6c6d6e6f")]  # fmt: skip
ROOTS = [bytes.fromhex(x) for x in (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)]  # fmt: skip
A296, F083, SIX_B47 = (bytes.fromhex(x) for x in (
    "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
    "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
    "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
))  # fmt: skip
BC1A, CA85, D37E, EBC5 = (bytes.fromhex(x) for x in (
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
))  # fmt: skip

SIZES = 131
MANY = [merkle.leaf_hash(str(i).encode()) for i in range(SIZES)]


def defined_root(hashes: list[bytes]) -> bytes:
    """MTH as RFC 6962 section 2.1 defines it, by recursion."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    split = 1
    while split * 2 < len(hashes):
        split *= 2
    return merkle.node_hash(defined_root(hashes[:split]), defined_root(hashes[split:]))


MANY_ROOTS = [defined_root(MANY[:size]) for size in range(SIZES)]


@pytest.mark.parametrize("size", range(9))
def test_published_roots(size: int) -> None:
    assert merkle.root([merkle.leaf_hash(leaf) for leaf in LEAVES[:size]]) == ROOTS[size]


@pytest.mark.parametrize(
    ("index", "size", "proof"),
    [(0, 8, [A296, F083, SIX_B47]), (5, 8, [BC1A, CA85, D37E]), (2, 3, [ROOTS[2]]), (0, 1, [])],
)
def test_published_inclusion_proofs(index: int, size: int, proof: list[bytes]) -> None:
    hashes = [merkle.leaf_hash(leaf) for leaf in LEAVES[:size]]
    assert merkle.inclusion(merkle.nodes_of(hashes), index, size) == proof
    assert merkle.verify_inclusion(hashes[index], index, size, proof, ROOTS[size])


@pytest.mark.parametrize(
    ("old", "new", "proof"),
    [(1, 8, [A296, F083, SIX_B47]), (6, 8, [EBC5, CA85, D37E]), (2, 5, [F083, BC1A]), (1, 1, [])],
)
def test_published_consistency_proofs(old: int, new: int, proof: list[bytes]) -> None:
    hashes = [merkle.leaf_hash(leaf) for leaf in LEAVES]
    assert merkle.consistency(merkle.nodes_of(hashes), old, new) == proof
    assert merkle.verify_consistency(old, new, proof, ROOTS[old], ROOTS[new])


def test_frontier_names_the_defined_root_at_every_size() -> None:
    frontier = merkle.Frontier()
    for size, hash_ in enumerate(MANY):
        assert frontier.root() == MANY_ROOTS[size]
        assert merkle.frontier_at(merkle.nodes_of(MANY), size).peaks == frontier.peaks
        frontier.append(hash_)


def test_every_inclusion_proof_holds_for_its_own_leaf_and_place_only() -> None:
    nodes = merkle.nodes_of(MANY)
    for size in (*range(1, 34), 64, 100, 127, 128, 129, 130):
        for index in range(size):
            proof = merkle.inclusion(nodes, index, size)
            assert merkle.verify_inclusion(MANY[index], index, size, proof, MANY_ROOTS[size])
            assert (
                not merkle.verify_inclusion(MANY[index - 1], index, size, proof, MANY_ROOTS[size])
                or size == 1
            )
            assert not merkle.verify_inclusion(MANY[index], index, size, [*proof, EBC5], MANY_ROOTS[size])
            assert (
                not merkle.verify_inclusion(MANY[index], index, size, proof[:-1], MANY_ROOTS[size])
                or not proof
            )


def test_every_pair_of_sizes_has_a_consistency_proof() -> None:
    nodes = merkle.nodes_of(MANY)
    for new in range(SIZES):
        for old in range(new + 1):
            proof = merkle.consistency(nodes, old, new)
            assert merkle.verify_consistency(old, new, proof, MANY_ROOTS[old], MANY_ROOTS[new])


@given(st.integers(1, SIZES - 1), st.data())
def test_a_changed_consistency_proof_or_root_never_verifies(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new))
    proof = merkle.consistency(merkle.nodes_of(MANY), old, new)
    flip = bytes([data.draw(st.integers(1, 255))]) + bytes(31)
    changed = data.draw(st.integers(-2, len(proof) - 1))

    def bend(hash_: bytes) -> bytes:
        return bytes(a ^ b for a, b in zip(hash_, flip, strict=True))

    old_root = bend(MANY_ROOTS[old]) if changed == -2 else MANY_ROOTS[old]
    new_root = bend(MANY_ROOTS[new]) if changed == -1 else MANY_ROOTS[new]
    bent = [bend(part) if at == changed else part for at, part in enumerate(proof)]
    assert not merkle.verify_consistency(old, new, bent, old_root, new_root)
    assert not merkle.verify_consistency(old, new, [*proof, EBC5], MANY_ROOTS[old], MANY_ROOTS[new])


def test_trees_that_differ_in_one_old_leaf_are_not_consistent() -> None:
    other = [*MANY[:40], merkle.leaf_hash(b"edited"), *MANY[41:]]
    proof = merkle.consistency(merkle.nodes_of(other), 64, 130)
    assert not merkle.verify_consistency(64, 130, proof, MANY_ROOTS[64], merkle.root(other[:130]))


def test_nonsense_is_refused_not_computed() -> None:
    assert not merkle.verify_inclusion(MANY[0], 3, 3, [], MANY_ROOTS[3])
    assert not merkle.verify_consistency(5, 3, [], MANY_ROOTS[5], MANY_ROOTS[3])
    with pytest.raises(ValueError, match="peaks"):
        merkle.Frontier(3, [MANY[0]])
