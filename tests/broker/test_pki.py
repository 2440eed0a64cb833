"""The demonstration city's certificates: made once, kept, strict enough for today's TLS."""

from __future__ import annotations

import socket
import ssl
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import pytest
from cryptography import x509

from edge_agent.demo.keyfile import public_base64, vkey
from edge_agent.demo.pki import Identity, Pki, client_context

NOW = datetime(2026, 11, 1, tzinfo=UTC)


def _certificate(identity: Identity) -> x509.Certificate:
    return x509.load_pem_x509_certificate(identity.certificate.read_bytes())


def test_a_second_start_keeps_every_identity_and_key(tmp_path: Path) -> None:
    first = Pki(tmp_path)
    first.server(), first.client("pump-1"), first.command_key(), first.recipient_key()
    before = {p.name: p.read_bytes() for p in tmp_path.rglob("*.*")}

    second = Pki(tmp_path)
    second.server(), second.client("pump-1"), second.command_key(), second.recipient_key()

    assert {p.name: p.read_bytes() for p in tmp_path.rglob("*.*")} == before


def test_private_keys_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    pki.client("pump-1"), pki.server(), pki.command_key(), pki.witness_key(), pki.mirror_key()
    keys = list(tmp_path.rglob("*.key"))
    assert len(keys) == 6
    assert {stat.S_IMODE(k.stat().st_mode) for k in keys} == {0o600}


def test_a_certificate_about_to_expire_is_made_anew(tmp_path: Path) -> None:
    old = _certificate(Pki(tmp_path, now=lambda: NOW).client("pump-1"))
    later = NOW + timedelta(days=84)
    new = _certificate(Pki(tmp_path, now=lambda: later).client("pump-1"))
    assert new.serial_number != old.serial_number
    assert new.not_valid_after_utc > later + timedelta(days=80)


def test_a_new_ca_makes_new_leaves(tmp_path: Path) -> None:
    old = _certificate(Pki(tmp_path).client("pump-1"))
    (tmp_path / "ca.key").unlink()
    new = _certificate(Pki(tmp_path).client("pump-1"))
    assert new.serial_number != old.serial_number


@pytest.mark.parametrize("name", ["", "a/b", "../ca", "+", "#", "Pump", "a b", "x" * 65])
def test_a_name_that_a_topic_or_path_could_misread_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="common name"):
        Pki(tmp_path).client(name)


def test_handshake_holds_under_strict_verification(tmp_path: Path) -> None:
    """Python 3.13 verifies strictly by default; a missing key identifier would fail there."""
    pki = Pki(tmp_path, names=("localhost", "127.0.0.1"))
    context = client_context(pki.ca, pki.client("pump-1.av"))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    subject = _handshake(_server_context(pki), context)
    assert subject == "pump-1.av"


def test_a_client_certificate_cannot_serve(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    impostor = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    mask = pki.client("pump-1")
    impostor.load_cert_chain(mask.certificate, mask.key)
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(impostor, client_context(pki.ca, None))


def test_configured_forms_of_public_keys(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    assert len(public_base64(pki.recipient_key())) == 44
    name, key_hash, encoded = vkey("demo-witness", pki.witness_key()).split("+", 2)
    assert (name, len(key_hash)) == ("demo-witness", 8)
    assert encoded.startswith("B")  # key type 4 leads the base64


def _server_context(pki: Pki) -> ssl.SSLContext:
    server = pki.server()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(server.certificate, server.key)
    context.load_verify_locations(pki.ca)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> str:
    """Shake hands over a socket pair; returns the client's common name as the server saw it."""
    ours, theirs = socket.socketpair()
    seen: list[str] = []

    def serve() -> None:
        theirs.settimeout(10)
        try:
            with server.wrap_socket(theirs, server_side=True) as accepted:
                subject = accepted.getpeercert() or {}
                seen.append(dict(pair[0] for pair in subject["subject"])["commonName"])
        except (OSError, KeyError):
            theirs.close()

    thread = Thread(target=serve)
    thread.start()
    ours.settimeout(10)
    try:
        with client.wrap_socket(ours, server_hostname="127.0.0.1"):
            pass
    finally:
        ours.close()
        thread.join(10)
    return seen[0]
