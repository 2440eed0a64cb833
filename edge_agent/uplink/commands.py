"""Signed commands: made at the command centre, believed at the box only after every check here. Pure.

TLS ends at the broker, so whoever holds the broker must still be unable to command a single box. The checks
and their order are those of docs/protocol.md, Commands; each refusal has a code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, JsonValue, PrivateAttr, ValidationError

from edge_agent.clock import CONFIRMED_WITHIN_S
from edge_agent.config import CAMERA_ID, SITE_ID
from edge_agent.errors import FormatError, UplinkError
from edge_agent.model import ClockTrust, Instant
from edge_agent.uplink import jws
from edge_agent.uplink.operations import OPERATIONS, Args, CommandRole, Operation, Ulid

COMMAND_TYP = "edge-command+jws"
MAX_COMMAND = 16 * 1024
MAX_LIFE_S = 300
SKEW_S = 60  # an honest command centre may be this far ahead of us
REMEMBERED = 4096


class Code(StrEnum):
    """Why a command is refused, as it stands in the reply and in the ledger."""

    MALFORMED = "malformed"
    UNKNOWN_KID = "unknown_kid"
    BAD_SIGNATURE = "bad_signature"
    WRONG_AUDIENCE = "wrong_audience"
    STALE = "stale"
    EXPIRED = "expired"
    REPLAYED = "replayed"
    NOT_ALLOWED = "not_allowed"
    UNKNOWN_OP = "unknown_op"
    BUSY = "busy"


class Refusal(UplinkError):
    """A payload that is not obeyed. `kid` and what follows are known only if the signature held."""

    def __init__(self, code: Code, sentence: str, kid: str = "", command: Command | None = None) -> None:
        super().__init__(f"{code.value}: {sentence}")
        self.code = code
        self.kid = kid
        self.command_id = command.id if command else ""
        self.operator = command.operator if command else ""
        self.op = command.op if command else ""


class Command(BaseModel):
    """What is signed. Exactly one of `site` and `group`; `iat` and `exp` in seconds of Unix time."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    id: Ulid
    site: Annotated[str, Field(pattern=SITE_ID)] | None = None
    group: Annotated[str, Field(pattern=CAMERA_ID)] | None = None
    session: Ulid | None = None
    op: Annotated[str, Field(min_length=1, max_length=32)]
    args: dict[str, JsonValue] = {}
    operator: Annotated[str, Field(min_length=1, max_length=64)]
    reason: Annotated[str, Field(max_length=256)] = ""
    iat: Annotated[int, Field(ge=0, lt=2**40)]
    exp: Annotated[int, Field(ge=0, lt=2**40)]

    _kids: tuple[str, ...] = PrivateAttr(())

    @property
    def kids(self) -> tuple[str, ...]:
        """Whose keys signed it; empty until verified."""
        return self._kids

    def typed_args(self) -> Args:
        """The arguments as the operation's model. Raises FormatError for a wrong or unknown operation."""
        operation = OPERATIONS.get(self.op)
        if operation is None:
            raise FormatError(f"no such operation: {self.op}")
        try:
            return operation.args.model_validate_json(json.dumps(self.args))
        except ValidationError as error:
            raise FormatError(f"wrong arguments for {self.op}") from error


@dataclass(frozen=True, slots=True)
class TrustedKey:
    role: CommandRole
    public: Ed25519PublicKey


def sign_command(private_key: Ed25519PrivateKey, kid: str, command: Command) -> bytes:
    """The payload for `dn/command`: a compact JWS."""
    return jws.sign(private_key, kid, COMMAND_TYP, _canonical(command))


def sign_command_twice(
    first: tuple[Ed25519PrivateKey, str], second: tuple[Ed25519PrivateKey, str], command: Command
) -> bytes:
    """Two keys over the same bytes, as RFC 7515 general JSON, for operations that need two people."""
    tokens = [sign_command(key, kid, command).decode("ascii").split(".") for key, kid in (first, second)]
    signatures = [{"protected": t[0], "signature": t[2]} for t in tokens]
    return json.dumps({"payload": tokens[0][1], "signatures": signatures}).encode("ascii")


class CommandVerifier:
    """Decides whether a payload is a command to obey. One owner, one thread.

    While the wall clock is not trusted, the newest `iat` that a pinned key has signed is a lower bound of the
    true time; with the session nonce it keeps an old command from running on a box that wakes in 1970.
    """

    def __init__(
        self, keys: Mapping[str, TrustedKey], site: str, groups: frozenset[str] = frozenset()
    ) -> None:
        self._keys = dict(keys)
        self._site = site
        self._groups = groups
        self._seen: dict[str, int] = {}  # id -> exp
        self._floor_us = 0
        self._floor_boot_ns = 0

    def verify(self, payload: bytes, *, session: str, now: Instant) -> Command:
        """The command, remembered so that it is never accepted again. Raises Refusal."""
        kids, command = self._authentic(payload)
        self._check_audience(kids[0], command, session, now)
        self._check_time(kids[0], command, now)
        if command.id in self._seen:
            raise Refusal(Code.REPLAYED, "this command was already taken", kids[0], command)
        operation = OPERATIONS.get(command.op)
        if operation is None:
            raise Refusal(Code.UNKNOWN_OP, "no such operation", kids[0], command)
        self._check_roles(kids, command, operation)
        self._check_args(kids[0], command)
        self._remember(kids[0], command, now)
        command._kids = kids
        return command

    def remember(self, command_id: str, exp: int) -> None:
        """Refuse this id although another process took it: durable operations survive a restart so."""
        self._seen[command_id] = exp

    def _authentic(self, payload: bytes) -> tuple[tuple[str, ...], Command]:
        if len(payload) > MAX_COMMAND:
            raise Refusal(Code.MALFORMED, "too long")
        try:
            verified = [jws.verify(t, COMMAND_TYP, self._public_key) for t in _tokens(payload)]
        except jws.UnknownKey as error:
            raise Refusal(Code.UNKNOWN_KID, str(error)) from error
        except jws.BadSignature as error:
            raise Refusal(Code.BAD_SIGNATURE, str(error)) from error
        except FormatError as error:
            raise Refusal(Code.MALFORMED, str(error)) from error
        try:
            command = Command.model_validate_json(verified[0].payload)
        except ValidationError as error:
            raise Refusal(Code.MALFORMED, "not a command", verified[0].kid) from error
        return tuple(v.kid for v in verified), command

    def _public_key(self, kid: str) -> Ed25519PublicKey | None:
        key = self._keys.get(kid)
        return key.public if key else None

    def _check_audience(self, kid: str, command: Command, session: str, now: Instant) -> None:
        if (command.site is None) == (command.group is None):
            raise Refusal(Code.WRONG_AUDIENCE, "names not exactly one of site and group", kid, command)
        if command.site is not None and command.site != self._site:
            raise Refusal(Code.WRONG_AUDIENCE, "meant for another site", kid, command)
        if command.group is not None and command.group not in self._groups:
            raise Refusal(Code.WRONG_AUDIENCE, "meant for a group this site is not in", kid, command)
        if command.site is not None and command.session != session:
            raise Refusal(Code.STALE, "meant for an earlier session", kid, command)
        if command.group is not None and now.trust < ClockTrust.NTP:
            raise Refusal(Code.STALE, "a group command needs a trusted clock", kid, command)

    def _check_time(self, kid: str, command: Command, now: Instant) -> None:
        if not 0 < command.exp - command.iat <= MAX_LIFE_S:
            raise Refusal(Code.EXPIRED, f"lives longer than {MAX_LIFE_S} s, or not at all", kid, command)
        if command.exp < self._earliest_s(now):
            raise Refusal(Code.EXPIRED, "too late", kid, command)
        if now.trust >= ClockTrust.NTP and command.iat > now.wall_us / 1e6 + SKEW_S + _doubt_s(now):
            raise Refusal(Code.EXPIRED, "issued in the future", kid, command)

    def _earliest_s(self, now: Instant) -> float:
        """The true time is not before this."""
        ours_s = now.wall_us / 1e6 - _doubt_s(now) if now.trust >= ClockTrust.NTP else 0.0
        if now.trust is ClockTrust.NTP or not self._floor_us:
            return ours_s
        return max(ours_s, self._floor_us / 1e6 + (now.boot_ns - self._floor_boot_ns) / 1e9)

    def _check_roles(self, kids: tuple[str, ...], command: Command, operation: Operation) -> None:
        roles = {self._keys[kid].role for kid in kids}
        if not roles <= operation.roles:
            raise Refusal(Code.NOT_ALLOWED, "the key's role may not order this", kids[0], command)
        if len(roles) < operation.signatures:
            raise Refusal(Code.NOT_ALLOWED, "needs two keys of distinct roles", kids[0], command)

    def _check_args(self, kid: str, command: Command) -> None:
        try:
            command.typed_args()
        except FormatError as error:
            raise Refusal(Code.MALFORMED, str(error), kid, command) from error

    def _remember(self, kid: str, command: Command, now: Instant) -> None:
        """Forget only what would be refused as expired anyway; when that is not enough, refuse."""
        earliest = self._earliest_s(now)
        if len(self._seen) >= REMEMBERED:
            self._seen = {i: exp for i, exp in self._seen.items() if exp >= earliest}
        if len(self._seen) >= REMEMBERED:
            raise Refusal(Code.BUSY, "too many commands at once", kid, command)
        self._seen[command.id] = command.exp
        if command.iat > earliest:
            self._floor_us, self._floor_boot_ns = command.iat * 1_000_000, now.boot_ns


def _doubt_s(now: Instant) -> float:
    """How far a trusted wall clock may be off: NTP keeps it, the command centre only confirms it."""
    return CONFIRMED_WITHIN_S if now.trust is ClockTrust.WITNESS else 0.0


def _tokens(payload: bytes) -> list[bytes]:
    """One compact token, or the two of a general JSON serialization without unprotected headers."""
    if not payload.startswith(b"{"):
        return [payload]
    try:
        document: Any = json.loads(payload)
        if document.keys() != {"payload", "signatures"} or len(document["signatures"]) != 2:
            raise FormatError("not a command of two signatures")
        if any(s.keys() != {"protected", "signature"} for s in document["signatures"]):
            raise FormatError("a signature with unprotected headers")
        return [
            f"{s['protected']}.{document['payload']}.{s['signature']}".encode("ascii")
            for s in document["signatures"]
        ]
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError("neither compact nor general JWS") from error


def _canonical(command: Command) -> bytes:
    return command.model_dump_json(exclude_none=True).encode()
