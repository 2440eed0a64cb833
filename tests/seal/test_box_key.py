"""The box's key on disk, recipients, and the choice of the AEAD."""

from __future__ import annotations

import os
import stat

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge_agent.errors import SealError
from edge_agent.model import Role
from edge_agent.seal.keys import BoxKey, Recipient, choose_aead, stream_id
from edge_agent.seal.record import Aead


def test_a_box_key_is_made_once_and_only_for_its_owner(tmp_path):
    path = tmp_path / "state" / "box.key"
    made = BoxKey.load_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert BoxKey.load_or_create(path).public == made.public
    assert [p.name for p in path.parent.iterdir()] == ["box.key"]
    Ed25519PublicKey.from_public_bytes(made.public).verify(made.sign(b"m"), b"m")


def test_the_key_is_durable_before_it_is_used(tmp_path, monkeypatch):
    steps = []
    replace = type(tmp_path).replace
    for name in ("fsync", "fdatasync"):
        sync = getattr(os, name)
        monkeypatch.setattr(os, name, lambda fd, sync=sync, name=name: (steps.append(name), sync(fd)))
    monkeypatch.setattr(
        type(tmp_path), "replace", lambda self, to: (steps.append("rename"), replace(self, to))[1]
    )
    BoxKey.load_or_create(tmp_path / "box.key")
    assert steps == ["fdatasync", "rename", "fsync"]


def test_a_half_written_key_from_a_power_cut_is_not_believed(tmp_path):
    (tmp_path / "box.key.new").write_bytes(b"half")
    BoxKey.load_or_create(tmp_path / "box.key")
    assert (tmp_path / "box.key").stat().st_size == 32


def test_a_damaged_key_file_is_an_error_not_a_new_identity(tmp_path):
    (tmp_path / "box.key").write_bytes(b"short")
    with pytest.raises(SealError, match="32 bytes"):
        BoxKey.load_or_create(tmp_path / "box.key")


def test_a_key_that_cannot_be_made_says_where(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SealError, match=r"file/box\.key"):
        BoxKey.load_or_create(tmp_path / "file" / "box.key")


def test_a_key_does_not_show_itself():
    assert "seed" not in repr(BoxKey(b"s" * 32))
    assert (b"s" * 32).hex() not in repr(vars(BoxKey(b"s" * 32)))


@pytest.mark.parametrize(("who", "key"), [("x", b"short"), ("", bytes(32)), ("n" * 300, bytes(32))])
def test_a_malformed_recipient_is_refused(who, key):
    with pytest.raises(SealError):
        Recipient(who, key)


def test_stream_ids_keep_camera_and_role_apart():
    box = bytes(32)
    ids = {stream_id(box, uid, role) for uid in ("a", "amain", "as") for role in Role}
    assert len(ids) == 6
    assert {len(i) for i in ids} == {16}


PI4 = "processor : 0\nFeatures\t: fp asimd evtstrm crc32 cpuid\n"
PI5 = "processor : 0\nFeatures\t: fp asimd evtstrm aes pmull sha1 sha2 crc32\n"
X86 = "processor : 0\nflags\t\t: fpu sse2 aes avx2\n"


@pytest.mark.parametrize(
    ("cpuinfo", "aead"),
    [
        (PI4, Aead.CHACHA20_POLY1305),
        (PI5, Aead.AES_256_GCM),
        (X86, Aead.AES_256_GCM),
        ("", Aead.CHACHA20_POLY1305),
    ],
)
def test_the_aead_follows_the_cpu(cpuinfo, aead):
    assert choose_aead("auto", cpuinfo) is aead


def test_the_aead_can_be_configured():
    assert choose_aead("chacha20-poly1305", X86) is Aead.CHACHA20_POLY1305
    with pytest.raises(SealError, match="rot13"):
        choose_aead("rot13")
