"""Certificates and keys of a demonstration city: one CA, its server, its sites, its command centre.

Everything is a file under one directory, private keys with mode 0600. What exists and is still good for
a week is kept, so a second start keeps the identities of the first. Not a production CA: its own key
lies beside the certificates it signs.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edge_agent.demo import keyfile

CA_LIFE = timedelta(days=365)
LEAF_LIFE = timedelta(days=90)
RENEW_BEFORE = timedelta(days=7)
CLOCK_SLACK = timedelta(days=1)  # a box without an RTC may live in yesterday

# A common name becomes a topic level, a client id and a file name: nothing that any of them could misread.
_COMMON_NAME = re.compile(r"^[a-z0-9][a-z0-9.-]{0,63}$")


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key, as PEM files."""

    common_name: str
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class _Signer:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


class Pki:
    """The demonstration city's certificates and keys under `directory`. Owned by one process.

    Making anything raises OSError when the directory cannot be written.
    """

    def __init__(
        self,
        directory: Path,
        names: Iterable[str] = ("localhost", "127.0.0.1"),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.directory = directory
        self._now = now
        self._names = tuple(names)
        self._clients = directory / "clients"  # apart: a site may be called "broker" or "witness"
        self._clients.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o700)
        self._ca = self._load_or_make_ca()

    @property
    def ca(self) -> Path:
        """The certificate that every party is told to trust."""
        return self.directory / "ca.pem"

    def server(self) -> Identity:
        """The broker's certificate, good for every name given to the constructor."""
        return self._identity("broker", self.directory, self._names)

    def client(self, common_name: str) -> Identity:
        """The certificate of a site, of its `{site}.av` connection, or of an ICCC worker (`iccc-...`)."""
        return self._identity(common_name, self._clients)

    def command_key(self) -> ed25519.Ed25519PrivateKey:
        """Signs the command centre's commands."""
        return keyfile.ed25519_key(self.command_key_path)

    def supervisor_key(self) -> ed25519.Ed25519PrivateKey:
        """The second person's, for what takes two."""
        return keyfile.ed25519_key(self.supervisor_key_path)

    def evidence_key(self) -> x25519.X25519PrivateKey:
        """Opens what is held for a case, after the recipient's key is destroyed."""
        return keyfile.x25519_key(self.evidence_key_path)

    def recipient_key(self) -> x25519.X25519PrivateKey:
        """Opens the footage: every epoch's key is sealed to its public half."""
        return keyfile.x25519_key(self.recipient_key_path)

    def witness_key(self) -> ed25519.Ed25519PrivateKey:
        return keyfile.ed25519_key(self.witness_key_path)

    def mirror_key(self) -> ed25519.Ed25519PrivateKey:
        return keyfile.ed25519_key(self.mirror_key_path)

    @property
    def command_key_path(self) -> Path:
        return self.directory / "command.key"

    @property
    def supervisor_key_path(self) -> Path:
        return self.directory / "supervisor.key"

    @property
    def evidence_key_path(self) -> Path:
        return self.directory / "evidence.key"

    @property
    def recipient_key_path(self) -> Path:
        return self.directory / "recipient.key"

    @property
    def witness_key_path(self) -> Path:
        return self.directory / "witness.key"

    @property
    def mirror_key_path(self) -> Path:
        return self.directory / "mirror.key"

    def iccc_workers(self) -> tuple[str, ...]:
        """Common names of the command centre's clients made so far; the broker's ACL lists them."""
        return tuple(sorted(p.stem for p in self._clients.glob("iccc-*.pem")))

    def _load_or_make_ca(self) -> _Signer:
        certificate_path, key_path = self.ca, self.directory / "ca.key"
        if certificate_path.exists() and key_path.exists():
            certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
            key = keyfile.read(key_path)
            if self._is_fresh(certificate) and isinstance(key, ec.EllipticCurvePrivateKey):
                return _Signer(certificate, key)
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign_ca(key)
        keyfile.write_private(key_path, key)
        keyfile.write(certificate_path, _certificate_pem(certificate), 0o644)
        return _Signer(certificate, key)

    def _sign_ca(self, key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edge-agent demonstration CA")])
        usage = _key_usage(signs_certificates=True)
        return (
            self._builder(name, name, key.public_key(), CA_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(key, hashes.SHA256())
        )

    def _identity(self, common_name: str, folder: Path, server_for: tuple[str, ...] = ()) -> Identity:
        if not _COMMON_NAME.match(common_name):
            raise ValueError(f"{common_name!r} cannot be a common name: lower case, digits, dot and hyphen")
        identity = Identity(common_name, folder / f"{common_name}.pem", folder / f"{common_name}.key")
        if not self._is_usable(identity, server_for):
            key = ec.generate_private_key(ec.SECP256R1())
            certificate = self._sign_leaf(common_name, key, server_for)
            keyfile.write_private(identity.key, key)
            keyfile.write(identity.certificate, _certificate_pem(certificate), 0o644)
        return identity

    def _sign_leaf(
        self, common_name: str, key: ec.EllipticCurvePrivateKey, server_for: tuple[str, ...]
    ) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if server_for else ExtendedKeyUsageOID.CLIENT_AUTH
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._ca.key.public_key())
        builder = (
            self._builder(subject, self._ca.certificate.subject, key.public_key(), LEAF_LIFE)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(authority, critical=False)
        )
        if server_for:
            names = x509.SubjectAlternativeName([_general_name(n) for n in server_for])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._ca.key, hashes.SHA256())

    def _builder(
        self, subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, life: timedelta
    ) -> x509.CertificateBuilder:
        now = self._now()
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - CLOCK_SLACK)
            .not_valid_after(now + life)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
        )

    def _is_usable(self, identity: Identity, server_for: tuple[str, ...]) -> bool:
        """Fresh, signed by today's CA, and for the same names."""
        if not (identity.certificate.exists() and identity.key.exists()):
            return False
        certificate = x509.load_pem_x509_certificate(identity.certificate.read_bytes())
        authority = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
        expected = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._ca.key.public_key())
        return self._is_fresh(certificate) and authority == expected and _names_of(certificate) == server_for

    def _is_fresh(self, certificate: x509.Certificate) -> bool:
        now = self._now()
        return certificate.not_valid_before_utc <= now < certificate.not_valid_after_utc - RENEW_BEFORE


def client_context(ca: Path, identity: Identity | None) -> ssl.SSLContext:
    """TLS 1.2 or later towards the broker, with or without a certificate of our own."""
    context = ssl.create_default_context(cafile=str(ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if identity is not None:
        context.load_cert_chain(identity.certificate, identity.key)
    return context


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _names_of(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in names)
