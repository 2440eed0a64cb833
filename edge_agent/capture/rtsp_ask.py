"""Single RTSP questions to a device, with blocking sockets and an absolute deadline: OPTIONS and DESCRIBE.

For finding out what a device is and which streams it has. Streams themselves are played by `visit`.
"""

from __future__ import annotations

import socket
import time

from edge_agent.capture import rtsp
from edge_agent.capture.login import Login
from edge_agent.capture.ports import CredentialGate, Leave
from edge_agent.capture.rtsp import Reply
from edge_agent.capture.rtsp_auth import Authorizer, strongest
from edge_agent.errors import FormatError, SourceLost
from edge_agent.model import Credentials, Endpoint

TIMEOUT_S = 4.0
LONGEST_TURN_S = 15.0
_TURN_S = 0.05
_READ = 64 * 1024
_MOST_READ = 256 * 1024


def ask(host: str, port: int, method: str, url: str, *, timeout_s: float = TIMEOUT_S) -> Reply:
    """One question without credentials. Raises SourceLost when no RTSP answer comes in time."""
    return _exchange(host, port, method, url, {}, time.monotonic() + timeout_s)


def describe(
    url: str,
    host: str,
    port: int,
    credentials: Credentials | None,
    gate: CredentialGate,
    *,
    timeout_s: float = TIMEOUT_S,
) -> Reply:
    """DESCRIBE, logging in if the device asks for it: any status but 401 comes back.

    Raises CredentialsRefused, also when the gate lets nothing through, and SourceLost.
    """
    headers = {"Accept": "application/sdp"}
    reply = _exchange(host, port, "DESCRIBE", url, headers, time.monotonic() + timeout_s)
    login = Login(gate, Endpoint(url, host, port, credentials))
    answers = 0
    while reply.status == 401:
        challenge = strongest(reply.headers.get("www-authenticate", ()))
        if challenge is None or answers > 1 or (answers and not challenge.stale):
            raise login.refused(f"{reply.reason} {reply.body[:500].decode('utf-8', 'replace')}")
        authorizer = Authorizer(login.credentials, challenge)
        _await_turn(login)
        answers += 1
        signed = {**headers, "Authorization": authorizer.header("DESCRIBE", url)}
        try:
            reply = _exchange(host, port, "DESCRIBE", url, signed, time.monotonic() + timeout_s)
        except SourceLost:
            login.leave()
            raise
    if answers:
        login.accepted() if reply.status < 400 else login.leave()
    return reply


def describe_telling_password(
    endpoint: Endpoint, gate: CredentialGate, *, timeout_s: float = TIMEOUT_S
) -> Reply:
    """DESCRIBE of a URL that carries the password (XM): asking is an attempt already, and is counted.

    Raises CredentialsRefused and SourceLost.
    """
    login = Login(gate, endpoint)
    if endpoint.credentials is not None:
        _await_turn(login)
    try:
        reply = ask(endpoint.host, endpoint.port, "DESCRIBE", endpoint.url, timeout_s=timeout_s)
    except SourceLost:
        login.leave()
        raise
    if reply.status in (401, 403):
        raise login.refused(reply.reason)
    if endpoint.credentials is not None:
        login.accepted() if reply.status < 400 else login.leave()
    return reply


def _await_turn(login: Login) -> None:
    """Blocks until the credentials may be sent. Raises CredentialsRefused or SourceLost."""
    until = time.monotonic() + LONGEST_TURN_S
    while (leave := login.ask(TIMEOUT_S)) is not Leave.GO:
        if leave is Leave.STOP:
            raise login.stopped()
        if time.monotonic() > until:
            raise SourceLost("the device has not judged the same password of other streams yet")
        time.sleep(_TURN_S)


def _exchange(host: str, port: int, method: str, url: str, headers: dict[str, str], deadline: float) -> Reply:
    where = f"{host}:{port}"
    try:
        with socket.create_connection((host, port), timeout=_left(deadline)) as sock:
            sock.sendall(rtsp.request(method, url, 1, headers))
            return _read_reply(sock, deadline, where)
    except OSError as error:
        raise SourceLost(f"{where} does not answer RTSP: {error.strerror or 'timed out'}") from error


def _read_reply(sock: socket.socket, deadline: float, where: str) -> Reply:
    demultiplexer, heard = rtsp.Demultiplexer(), 0
    try:
        while heard < _MOST_READ:
            sock.settimeout(_left(deadline))
            received = sock.recv(_READ)
            if not received:
                raise SourceLost(f"{where} closed the connection instead of answering")
            heard += len(received)
            for channel, message in demultiplexer.feed(received):
                if channel == rtsp.MESSAGE:
                    return rtsp.parse_reply(message)
    except FormatError as error:
        raise SourceLost(f"{where} does not speak RTSP: {error}") from error
    raise SourceLost(f"{where} talks without end and says nothing")


def _left(deadline: float) -> float:
    left_s = deadline - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s
