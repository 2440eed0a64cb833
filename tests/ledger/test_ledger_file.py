"""The ledger's files: every crash prefix, every kind of tampering, pruning, damaged side files."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge_agent.ledger import checkpoint as notes
from edge_agent.ledger import file as files
from edge_agent.ledger import leaf as leaves_
from edge_agent.ledger import merkle, parts, verifier
from edge_agent.ledger.checkpoint import Checkpoint, Verifier
from edge_agent.ledger.file import LedgerFile

KEY = Ed25519PrivateKey.from_private_bytes(b"file" + bytes(28))
PUBLIC = KEY.public_key().public_bytes_raw()
ORIGIN = notes.origin_of("pump-7", PUBLIC)
VKEY = Verifier(ORIGIN, PUBLIC).vkey


def leaf(n: int) -> bytes:
    return b'{"n":%d}' % n


def leaf_list(first: int, end: int) -> list[bytes]:
    return [leaf(n) for n in range(first, end)]


def sign(directory: Path, file: LedgerFile) -> Checkpoint:
    head = Checkpoint(ORIGIN, file.size, file.root(file.size))
    (directory / "checkpoint").write_text(str(notes.sign(head, PUBLIC, KEY.sign)))
    (directory / "vkey").write_text(VKEY)
    return head


def written(directory: Path, count: int, *, signed: int | None = None) -> Checkpoint:
    """A closed ledger of `count` leaves, signed at `signed` or at its end."""
    directory.mkdir(exist_ok=True)
    file = LedgerFile(directory)
    signed = count if signed is None else signed
    file.append(leaf_list(0, signed))
    head = sign(directory, file)
    if signed < count:
        file.append(leaf_list(signed, count))
    file.close()
    return head


def only_part(directory: Path) -> Path:
    (part,) = directory.glob("leaves-*.log")
    return part


def test_leaves_roots_and_nodes_survive_closing(tmp_path: Path) -> None:
    head = written(tmp_path, 300)
    file = LedgerFile(tmp_path, head)
    assert file.entries(0, 999) == leaf_list(0, 300)
    assert file.entries(298, 1) == [leaf(298)]
    assert file.entries(300, 5) == []
    hashes = [merkle.leaf_hash(x) for x in leaf_list(0, 300)]
    assert [file.root(n) for n in (0, 1, 7, 255, 256, 300)] == [
        merkle.root(hashes[:n]) for n in (0, 1, 7, 255, 256, 300)
    ]


def test_parts_are_rotated_and_read_across(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PART_BYTES", 200)
    file = LedgerFile(tmp_path)
    for n in range(0, 60, 3):
        file.append(leaf_list(n, n + 3))
    assert len(list(tmp_path.glob("leaves-*.log"))) > 4
    assert file.entries(5, 40) == leaf_list(5, 45)
    assert LedgerFile(tmp_path).entries(0, 99) == leaf_list(0, 60)


def test_every_crash_prefix_keeps_the_whole_leaves_and_goes_on_in_a_new_part(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    head = written(origin, 6, signed=3)
    content = only_part(origin).read_bytes()
    frame = len(parts.frame(leaf(0)))
    for cut in range(3 * frame, len(content) + 1):
        directory = tmp_path / str(cut)
        shutil.copytree(origin, directory)
        only_part(directory).write_bytes(content[:cut])
        file = LedgerFile(directory, head)
        whole = cut // frame
        assert (file.size, file.recovery.torn) == (whole, cut % frame != 0)
        file.append([b'{"after":1}'])
        assert file.entries(0, 99) == [*leaf_list(0, whole), b'{"after":1}']
        assert (directory / only_name(origin)).read_bytes()[:cut] == content[:cut]
        again = LedgerFile(directory, head)
        assert again.entries(0, 99) == file.entries(0, 99)
        assert again.root(again.size) == file.root(file.size)
        assert verifier.verify_directory(directory).problems == ()


@pytest.mark.parametrize("tail", [bytes(512), b"\xff" * 512, b"\x00\x00\x00\x07garbage"])
def test_a_torn_sector_behind_the_leaves_is_left_alone(tmp_path: Path, tail: bytes) -> None:
    head = written(tmp_path, 4)
    with only_part(tmp_path).open("ab") as part:
        part.write(tail)
    file = LedgerFile(tmp_path, head)
    assert (file.size, file.recovery.torn) == (4, True)
    file.append(leaf_list(4, 5))
    assert LedgerFile(tmp_path, head).entries(0, 9) == leaf_list(0, 5)


def test_damaged_leaves_under_a_signature_keep_their_hash(tmp_path: Path) -> None:
    head = written(tmp_path, 9)
    flip(only_part(tmp_path), 3 * len(parts.frame(leaf(0))) + 6)
    file = LedgerFile(tmp_path, head)
    assert file.entries(2, 3) == [leaf(2), leaves_.pruned(merkle.leaf_hash(leaf(3))), leaf(4)]
    only_part(tmp_path).write_bytes(only_part(tmp_path).read_bytes()[:40])
    file = LedgerFile(tmp_path, head)
    assert (file.size, file.recovery.damaged, file.recovery.contradicts) == (9, 7, False)
    file.append(leaf_list(9, 11))
    assert LedgerFile(tmp_path, head).entries(8, 9)[1:] == leaf_list(9, 11)
    assert verifier.verify_directory(tmp_path).unreadable == 7


@pytest.mark.parametrize("harm", ["gone", "short", "zeros", "flipped"])
def test_a_damaged_hash_file_is_rebuilt_from_the_leaves(tmp_path: Path, harm: str) -> None:
    head = written(tmp_path, 40)
    path = tmp_path / "hashes"
    good = path.read_bytes()
    if harm == "gone":
        path.unlink()
    elif harm == "short":
        path.write_bytes(good[:777])
    elif harm == "zeros":
        path.write_bytes(bytes(len(good)))
    else:
        flip(path, len(good) - 32)  # a peak: the next root would be wrong
    file = LedgerFile(tmp_path, head)
    assert (file.size, file.recovery.contradicts) == (40, False)
    assert path.read_bytes()[: len(good)] == good


def test_leaves_lost_from_under_our_own_signature_are_a_contradiction(tmp_path: Path) -> None:
    head = written(tmp_path, 9)
    only_part(tmp_path).write_bytes(b"")
    (tmp_path / "hashes").unlink()
    file = LedgerFile(tmp_path, head)
    assert (file.size, file.recovery.contradicts, file.recovery.signed) == (0, True, 0)


def test_pruned_parts_leave_their_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PART_BYTES", 200)
    file = LedgerFile(tmp_path)
    for n in range(60):
        file.append([leaf(n)])
    head = sign(tmp_path, file)
    root = file.root(60)
    assert file.prune(before=30) > 0
    entries = file.entries(0, 60)
    assert leaves_.is_pruned(entries[0])
    assert entries[30:] == leaf_list(30, 60)
    assert merkle.root([leaves_.entry_hash(entry) for entry in entries]) == root
    again = LedgerFile(tmp_path, head)
    assert (again.size, again.root(60), again.entries(0, 60)) == (60, root, entries)
    assert LedgerFile(tmp_path).size == 60  # even without its checkpoint
    report = verifier.verify_directory(tmp_path)
    assert (report.ok, report.unreadable) == (True, 0)
    assert report.pruned == sum(leaves_.is_pruned(entry) for entry in entries)


def test_a_replacement_stands_whole_or_not_at_all(tmp_path: Path) -> None:
    head = written(tmp_path, 10, signed=4)
    shutil.copytree(tmp_path, crashed := tmp_path / "crashed", ignore=shutil.ignore_patterns("crashed"))
    (crashed / "leaves-000002-000000000004.draft").write_bytes(parts.frame(b'{"half":1}'))
    assert LedgerFile(crashed, head).entries(0, 99) == leaf_list(0, 10)
    file = LedgerFile(tmp_path, head)
    file.replace_from(4, [b'{"adopted":4}', *leaf_list(4, 10)])
    file.append([b'{"later":1}'])
    expected = [*leaf_list(0, 4), b'{"adopted":4}', *leaf_list(4, 10), b'{"later":1}']
    assert file.entries(0, 99) == expected
    assert LedgerFile(tmp_path, head).entries(0, 99) == expected
    assert verifier.read_leaves(tmp_path) == expected


COUNT = 12


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pristine")
    written(directory, COUNT)
    assert verifier.verify_directory(directory).ok
    return directory


def rewritten(pristine: Path, target: Path, leaves: list[bytes], *, hashes_too: bool) -> verifier.Report:
    """The owner's edit: frames with good CRCs, and the hash file either left or recomputed as well."""
    shutil.copytree(pristine, target, dirs_exist_ok=True)
    only_part(target).write_bytes(b"".join(parts.frame(x) for x in leaves))
    if hashes_too:
        (target / "hashes").unlink()
        with_hashes = LedgerFile(target)
        with_hashes.close()
    return verifier.verify_directory(target, vkey=VKEY)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_edit_drop_insertion_and_reorder_is_found(
    pristine: Path, tmp_path: Path, data: st.DataObject
) -> None:
    leaves = leaf_list(0, COUNT)
    at = data.draw(st.integers(0, COUNT - 1))
    other = data.draw(st.integers(0, COUNT - 1).filter(lambda n: n != at))
    kind = data.draw(st.sampled_from(["edit", "drop", "insert", "swap", "cut"]))
    if kind == "edit":
        leaves[at] = data.draw(st.binary(min_size=1, max_size=20).filter(lambda b: b != leaf(at)))
    elif kind == "drop":
        del leaves[at]
    elif kind == "insert":
        leaves.insert(at, data.draw(st.sampled_from([leaf(at), b'{"new":1}'])))
    elif kind == "swap":
        leaves[at], leaves[other] = leaves[other], leaves[at]
    else:
        leaves = leaves[:at]
    hashes_too = data.draw(st.booleans())
    report = rewritten(pristine, tmp_path, leaves, hashes_too=hashes_too)
    only_appended = leaves[:COUNT] == leaf_list(0, COUNT)  # that is what a log is for, but it is not signed
    assert report.problems or (only_appended and report.unsigned == len(leaves) - COUNT)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_every_flipped_bit_of_a_leaf_is_found(pristine: Path, tmp_path: Path, at: int, bit: int) -> None:
    shutil.copytree(pristine, tmp_path, dirs_exist_ok=True)
    part = only_part(tmp_path)
    flip(part, at % part.stat().st_size, 1 << bit)
    report = verifier.verify_directory(tmp_path)
    assert report.problems


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["checkpoint", "cosigned", "vkey", "hashes", "leaves-000009-999999999999.log"]),
    content=st.binary(max_size=200)
    | st.text(alphabet='{}[]":,witnessmirror\n+—= AZ09', max_size=200).map(str.encode),
)
def test_verify_reports_whatever_the_files_contain(
    pristine: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    shutil.copytree(pristine, tmp_path, dirs_exist_ok=True)
    (tmp_path / "cosigned").write_bytes((tmp_path / "checkpoint").read_bytes())
    (tmp_path / name).write_bytes(content)
    report = verifier.verify_directory(tmp_path)
    lost_is_allowed = name in ("hashes", "cosigned") and len(content) < 32
    assert report.problems or lost_is_allowed
    for extra in ("leaves-000009-999999999999.log", "cosigned"):
        (tmp_path / extra).unlink(missing_ok=True)


def test_verify_names_what_is_wrong(pristine: Path, tmp_path: Path) -> None:
    leaves = leaf_list(0, COUNT)
    leaves[5] = b'{"edited":5}'
    report = rewritten(pristine, tmp_path, leaves, hashes_too=False)
    assert report.problems[0] == "leaf 5 is not the one that was hashed"
    (tmp_path / "checkpoint").unlink()
    assert "there is no own checkpoint" in verifier.verify_directory(tmp_path).problems
    stranger = Verifier(ORIGIN, Ed25519PrivateKey.generate().public_key().public_bytes_raw()).vkey
    assert any("not signed" in p for p in verifier.verify_directory(pristine, vkey=stranger).problems)


def test_the_two_implementations_agree_at_every_size(tmp_path: Path) -> None:
    for count in range(1, 34):
        directory = tmp_path / str(count)
        head = written(directory, count)
        report = verifier.verify_directory(directory)
        assert (report.root, report.size, report.signed) == (head.root.hex(), count, count)


def only_name(directory: Path) -> str:
    return only_part(directory).name


def flip(path: Path, at: int, mask: int = 0x40) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= mask
    path.write_bytes(content)
