"""The first steps to a broker, one by one and timed: its name, its port, TLS. Not a word of MQTT."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Thread

from edge_agent.clock import Clock
from edge_agent.errors import UplinkError
from edge_agent.model import ClockTrust
from edge_agent.uplink.link import Broker, LinkSettings
from edge_agent.uplink.sockets import tls_context

DNS_S = 6.0
STEP_S = 10.0  # TCP connect and TLS handshake: each


class ProbeFailed(UplinkError):
    """A step failed: the text says what was found, `cure` what to do next."""

    def __init__(self, step: str, sentence: str, cure: str) -> None:
        super().__init__(sentence)
        self.step, self.cure = step, cure


@dataclass(frozen=True, slots=True)
class Reached:
    """How long each step took, and until when the broker's certificate is good."""

    address: str
    dns_s: float
    connect_s: float
    tls_s: float
    good_until: datetime


def reach(settings: LinkSettings, broker: Broker, clock: Clock) -> Reached:
    """Raises ProbeFailed for the first step that fails; ends after 26 s at the latest."""
    began = clock.monotonic()
    address = _resolve(broker)
    resolved = clock.monotonic()
    with _connect(address, broker) as plain:
        connected = clock.monotonic()
        good_until = _shake_hands(plain, settings, broker, clock)
        done = clock.monotonic()
    return Reached(address, resolved - began, connected - resolved, done - connected, good_until)


def _resolve(broker: Broker) -> str:
    """In a thread: the C library's resolver knows no time limit of ours."""
    found: list[str | OSError] = []

    def ask() -> None:
        try:
            told = socket.getaddrinfo(broker.host, broker.port, type=socket.SOCK_STREAM)
            found.append(str(told[0][4][0]))
        except (OSError, UnicodeError) as error:
            found.append(error if isinstance(error, OSError) else OSError(str(error)))

    thread = Thread(target=ask, name="resolve", daemon=True)
    thread.start()
    thread.join(DNS_S)
    cure = "check the name in uplink.brokers, then the box's name server (resolvectl query NAME)"
    if not found:
        raise ProbeFailed("name", f"{broker.host}: no name server answers within {DNS_S:.0f} s", cure)
    if isinstance(found[0], OSError):
        raise ProbeFailed("name", f"{broker.host} does not resolve: {found[0].strerror or found[0]}", cure)
    return found[0]


def _connect(address: str, broker: Broker) -> socket.socket:
    where = f"{address} port {broker.port}"
    try:
        return socket.create_connection((address, broker.port), STEP_S)
    except ConnectionRefusedError as error:
        cure = "check the port in uplink.brokers; ask the command centre whether its broker runs"
        raise ProbeFailed("port", f"{where} is closed: the machine answers and refuses", cure) from error
    except TimeoutError as error:
        cure = "open outgoing TCP to this port in router and firewall (install: --allow); test another line"
        raise ProbeFailed("port", f"{where}: nothing answers within {STEP_S:.0f} s", cure) from error
    except OSError as error:
        cure = "check cable, modem and default route; the service's firewall needs --allow ADDRESS"
        raise ProbeFailed("port", f"{where} cannot be reached: {error.strerror or error}", cure) from error


def _shake_hands(plain: socket.socket, settings: LinkSettings, broker: Broker, clock: Clock) -> datetime:
    try:
        context = tls_context(settings, check_dates=clock.now().trust > ClockTrust.NONE)
    except (OSError, ValueError) as error:
        name = getattr(error, "filename", None) or settings.certificate
        cure = "check uplink.ca, the certificates and keys; the key must belong to its certificate; use sudo"
        raise ProbeFailed("TLS", f"our own files cannot be used ({name}): {error}", cure) from error
    try:
        with context.wrap_socket(plain, server_hostname=broker.host) as wrapped:
            told = wrapped.getpeercert()
    except ssl.SSLCertVerificationError as error:
        raise ProbeFailed("TLS", *_not_trusted(error, broker)) from error
    except TimeoutError as error:
        cure = "a half-dead line: lower the MTU (try 1400), restart the modem, test another line"
        said = f"the port opens, and then nothing answers within {STEP_S:.0f} s"
        raise ProbeFailed("TLS", said, cure) from error
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or str(error)
        cure = "is this the broker's TLS port? A firewall that looks into TLS must let it pass"
        raise ProbeFailed("TLS", f"the handshake fails: {reason}", cure) from error
    assert told  # a certificate was demanded
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(told["notAfter"])), UTC)


def _not_trusted(error: ssl.SSLCertVerificationError, broker: Broker) -> tuple[str, str]:
    """Sentence and cure, by OpenSSL's words."""
    said = error.verify_message
    if "expired" in said or "not yet valid" in said:
        cure = "check the box's clock (timedatectl); if it is right, the command centre must renew it"
        return f"the broker's certificate is out of date: {said}", cure
    if "match" in said or "Hostname" in said:
        cure = "write the name into uplink.brokers that is in the broker's certificate"
        return f"the broker's certificate is not for {broker.host}: {said}", cure
    cure = "install the command centre's ca.pem as uplink.ca; no firewall may open TLS on this port"
    return f"the broker's certificate is not trusted: {said}", cure
