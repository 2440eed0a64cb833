"""TLS and TCP under an MQTT connection: whom it believes, how it is tuned, what the kernel knows of it."""

from __future__ import annotations

import fcntl
import socket
import ssl
import struct
import termios
from typing import Any

from edge_agent.uplink.flow import TcpState, parse_tcp_info
from edge_agent.uplink.link import LinkSettings

NOT_SENT_LOW_WATER = 16 * 1024  # bytes the kernel may hold unsent: newer, more urgent words wait behind them
USER_TIMEOUT_MS = 30_000
TCP_INFO_BYTES = 256
RETRANSMITS_AT = 2  # of struct tcp_info: time-outs in a row without any acknowledgement
X509_NO_CHECK_TIME = 0x200000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME, unnamed in `ssl`


class PatientSocket(ssl.SSLSocket):
    """A line that answers at all is given longer for the handshake than one that may be dead."""

    def do_handshake(self, block: bool = False) -> None:
        assert isinstance(self.context, ClientContext)
        self.settimeout(self.context.handshake_s)
        super().do_handshake(block)


class ClientContext(ssl.SSLContext):
    """Remembers the socket it wrapped: paho loses it, still open, when the handshake fails."""

    wrapped: ssl.SSLSocket | None = None
    handshake_s = 10.0
    sslsocket_class = PatientSocket

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        self.wrapped = super().wrap_socket(*args, **kwargs)
        return self.wrapped


def tls_context(settings: LinkSettings, *, check_dates: bool) -> ClientContext:
    """TLS 1.2 or later with our certificate. Raises OSError when a file cannot be used.

    A box that wakes in 1970 finds every certificate not yet valid: without any idea of the time the dates
    are not looked at; everything else is.
    """
    context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)  # demands a certificate, and one for this host
    context.handshake_s = settings.connect_timeout_s
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(settings.ca)
    context.load_cert_chain(settings.certificate, settings.key)
    if not check_dates:
        context.verify_flags |= ssl.VerifyFlags(X509_NO_CHECK_TIME)
    return context


def tune(sock: Any) -> None:
    """Small writes leave at once, and little waits in the kernel where nothing can overtake it."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, NOT_SENT_LOW_WATER)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)


def tcp_state(sock: Any) -> TcpState | None:
    """What the kernel knows of a connection; None for one that is just closing."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
        (outstanding,) = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))
    except (OSError, ValueError):
        return None
    return parse_tcp_info(info, outstanding)


def retransmits(sock: Any) -> int:
    """How often in a row the kernel has repeated itself without an answer; 0 for a socket that is closing."""
    try:
        info: bytes = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, RETRANSMITS_AT + 1)
    except (OSError, ValueError):
        return 0
    return info[RETRANSMITS_AT] if len(info) > RETRANSMITS_AT else 0


def explain(error: OSError | ValueError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the broker's certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or error}"
    if isinstance(error, FileNotFoundError):
        return f"cannot read {error.filename or 'a certificate or key'}"
    return str(error) or type(error).__name__
