"""One question, one answer: the lines on the control socket, and the side that asks."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

from edge_agent.errors import EdgeAgentError, FormatError

Json = dict[str, Any]

MAX_QUESTION = 64 * 1024
MAX_ANSWER = 8 * 1024 * 1024  # a 4K snapshot in base64


class ControlError(EdgeAgentError):
    """The daemon could not be asked, or refused; the text says what to do."""


def call(path: Path, op: str, args: Json, timeout_s: float = 15.0) -> Json:
    """Ask the daemon behind `path` one question. Raises ControlError with what to do about it."""
    question = json.dumps({"op": op, "args": args}).encode() + b"\n"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(timeout_s)
            asking.connect(str(path))
            asking.sendall(question)
            line = _read_line(asking, time.monotonic() + timeout_s)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise ControlError(
            f"the agent is not running ({path}): `systemctl start edge-agent`, or `edge-agent run`"
        ) from error
    except PermissionError as error:
        raise ControlError(f"{path}: not allowed; use sudo, or join the group edge-agent") from error
    except TimeoutError as error:
        raise ControlError(f"the agent did not answer {op} within {timeout_s:g} s") from error
    except OSError as error:
        raise ControlError(f"{path}: {error.strerror or error}") from error
    return _unpack(line, op)


def parse_question(line: bytes) -> tuple[str, Json]:
    """Read one question. Raises FormatError for anything else, without echoing it."""
    if len(line) > MAX_QUESTION:
        raise FormatError("the question is too long")
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise FormatError("the question is not JSON") from error
    match document:
        case {"op": str(op), **rest} if not rest:
            return op[:64], {}
        case {"op": str(op), "args": dict(args), **rest} if not rest:
            return op[:64], args
    raise FormatError('the question must be {"op": "...", "args": {...}}')


def answer_line(answer: Json) -> bytes:
    """The answer's line; too large a one becomes a refusal that says so."""
    line = json.dumps(answer, ensure_ascii=False, separators=(",", ":"), default=str).encode() + b"\n"
    if len(line) > MAX_ANSWER:
        return answer_line(refusal("the answer is too large for the control socket"))
    return line


def refusal(text: str) -> Json:
    return {"ok": False, "error": text}


def _read_line(asking: socket.socket, deadline: float) -> bytes:
    received = bytearray()
    while not received.endswith(b"\n"):
        asking.settimeout(max(deadline - time.monotonic(), 0.001))
        piece = asking.recv(64 * 1024)
        if not piece or len(received) > MAX_ANSWER:
            break
        received += piece
    return bytes(received)


def _unpack(line: bytes, op: str) -> Json:
    try:
        answer = json.loads(line)
    except ValueError as error:
        raise ControlError(f"the agent broke off while answering {op}; see its log") from error
    match answer:
        case {"ok": True, "result": dict(result)}:
            return result
        case {"ok": False, "error": str(text)}:
            raise ControlError(text)
    raise ControlError(f"the agent's answer to {op} is not understood; are both of the same version?")
