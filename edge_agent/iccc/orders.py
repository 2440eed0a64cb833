"""Signed commands of the command centre, and the boxes' signed replies to them. Any thread but the link's."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Condition

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import JsonValue

from edge_agent.errors import UplinkError
from edge_agent.uplink import messages, topics, ulid
from edge_agent.uplink.commands import Command, sign_command, sign_command_twice
from edge_agent.uplink.messages import Lifecycle, Reply
from edge_agent.uplink.topics import Down

COMMAND_LIFE_S = 60
FINAL = frozenset(set(Lifecycle) - {Lifecycle.ACCEPTED, Lifecycle.PROGRESS})
BEGUN = FINAL | {Lifecycle.PROGRESS}

Args = dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class SecondKey:
    """Another role's key, for what a box does on two signatures alone."""

    key: Ed25519PrivateKey
    kid: str


class CommandRefused(UplinkError):
    """The box said no, or could not: `reply` has its code."""

    def __init__(self, reply: Reply) -> None:
        code = reply.data.code or reply.data.status.value
        super().__init__(f"{reply.data.op or 'command'}: {code}: {reply.data.text}".rstrip(": "))
        self.reply = reply


class Orders:
    """`birth` gives the newest believed birth of a site, `publish` sends or raises UplinkError."""

    def __init__(
        self,
        key: Ed25519PrivateKey,
        kid: str,
        birth: Callable[[str], messages.Birth | None],
        publish: Callable[[str, bytes], None],
    ) -> None:
        self._key, self._kid = key, kid
        self._birth, self._publish = birth, publish
        self._replied = Condition()
        self._replies: dict[str, list[tuple[Reply, float]]] = {}

    def hear(self, reply: Reply) -> None:
        """A believed reply. Link's thread only."""
        with self._replied:
            if reply.data.command in self._replies:
                self._replies[reply.data.command].append((reply, time.monotonic()))
                self._replied.notify_all()

    def carry_out(
        self, site: str, op: str, args: Args, operator: str, reason: str, timeout_s: float
    ) -> tuple[Reply, float]:
        """Order, and wait for the end; with when the reply came. Raises CommandRefused, UplinkError."""
        ordered = self.begin(site, op, args, operator, reason)
        try:
            return ordered.wait(FINAL, timeout_s)
        finally:
            ordered.forget()

    def begin(
        self, site: str, op: str, args: Args, operator: str, reason: str, second: SecondKey | None = None
    ) -> Ordered:
        """Send one signed command. Its replies are kept until `Ordered.forget`. Raises UplinkError."""
        command_id = ulid.new(time.time_ns() // 1000)
        with self._replied:
            self._replies[command_id] = []
        ordered = Ordered(self._replied, self._replies, site, op, command_id)
        try:
            self.send(site, op, args, operator, reason, command_id, second)
        except UplinkError:
            ordered.forget()
            raise
        return ordered

    def send(
        self, site: str, op: str, args: Args, operator: str, reason: str, command_id: str | None = None,
        second: SecondKey | None = None,
    ) -> None:  # fmt: skip
        """Send and wait for nothing. Raises UplinkError."""
        birth = self._birth(site)
        if birth is None:
            raise UplinkError(f"site {site} has not reported yet")
        now_us = time.time_ns() // 1000
        command = Command(
            id=command_id or ulid.new(now_us), site=site, session=birth.session, op=op, args=args,
            operator=operator, reason=reason,
            iat=now_us // 1_000_000, exp=now_us // 1_000_000 + COMMAND_LIFE_S,
        )  # fmt: skip
        if second is None:
            signed = sign_command(self._key, self._kid, command)
        else:
            signed = sign_command_twice((self._key, self._kid), (second.key, second.kid), command)
        self._publish(topics.down(site, Down.COMMAND), signed)


class Ordered:
    """One command that was sent, and what the box has answered to it."""

    def __init__(
        self,
        replied: Condition,
        replies: dict[str, list[tuple[Reply, float]]],
        site: str,
        op: str,
        command_id: str,
    ) -> None:
        self.command_id = command_id
        self._replied, self._replies = replied, replies
        self._site, self._op = site, op

    def wait(self, states: frozenset[Lifecycle], timeout_s: float) -> tuple[Reply, float]:
        """The first reply in one of `states`. Raises CommandRefused for a bad end, UplinkError for none."""
        with self._replied:
            answered = self._replied.wait_for(lambda: self.answered(states), timeout_s)
        if not answered:
            raise UplinkError(f"{self._site}: no answer to {self._op} within {timeout_s:g} s")
        if answered[0].data.status in FINAL - {Lifecycle.DONE}:
            raise CommandRefused(answered[0])
        return answered

    def answered(self, states: frozenset[Lifecycle]) -> tuple[Reply, float] | None:
        """The first reply in one of `states`, if it is here."""
        with self._replied:
            got = self._replies.get(self.command_id, ())
            return next((r for r in got if r[0].data.status in states), None)

    def replies(self) -> list[Reply]:
        """All that came so far, in order."""
        with self._replied:
            return [reply for reply, _ in self._replies.get(self.command_id, ())]

    def forget(self) -> None:
        with self._replied:
            self._replies.pop(self.command_id, None)
