"""What the uplink tells the owner."""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.events import Fact
from edge_agent.uplink.commands import Code, Command


@dataclass(frozen=True, slots=True)
class LinkUp(Fact):
    """The control connection stands. `session` is fresh: send a birth that carries it."""

    session: str
    broker: str = ""


@dataclass(frozen=True, slots=True)
class LinkDown(Fact):
    """The control connection is gone; `reason` is for people, `code` the MQTT reason code if one came."""

    reason: str
    code: int | None = None


@dataclass(frozen=True, slots=True)
class CommandArrived(Fact):
    """Every check has passed: answer `accepted` and act."""

    command: Command


@dataclass(frozen=True, slots=True)
class CommandRefused(Fact):
    """A command that is not obeyed. All but `code` and `text` are empty unless the signature held."""

    code: Code
    text: str
    kid: str = ""
    operator: str = ""
    op: str = ""
    command_id: str = ""


@dataclass(frozen=True, slots=True)
class WitnessNoteArrived(Fact):
    """The retained `dn/witness`: cosigned checkpoint, exact bytes, not yet believed."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class LeavesWanted(Fact):
    """`dn/want`: the command centre asks for a range of leaves again; not yet believed."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class LeavesArrived(Fact):
    """`dn/leaves`: a batch of leaves that this box lost and asked for; not yet believed."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class PolicyArrived(Fact):
    """The retained `dn/config`: a signed policy, not yet believed; empty when it was cleared."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class MessageRefused(Fact):
    """The broker did not take a message (ACL, quota, size): sending it again would not help."""

    topic: str
    reason: str


@dataclass(frozen=True, slots=True)
class ViewingEnded(Fact):
    """A live or playback session is over: its last lease ran out or was given back, or the footage ended.

    `records` is how many were handed to the link since the session began.
    """

    session: str
    kind: str
    camera: str
    reason: str
    records: int = 0
