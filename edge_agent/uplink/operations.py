"""Every remote operation: its arguments, who may order it, and how carefully it is guarded. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from edge_agent.config import CAMERA_ID
from edge_agent.model import Role
from edge_agent.uplink import ulid

Camera = Annotated[str, Field(pattern=CAMERA_ID, max_length=31)]
Ulid = Annotated[str, Field(pattern=ulid.PATTERN, max_length=26)]
Moment = Annotated[int, Field(ge=0, lt=2**53)]  # microseconds of wall time; exact in any JSON reader
LeaseS = Annotated[int, Field(ge=5, le=300)]
Part = Annotated[int, Field(ge=0, lt=2**17)]  # of a clip
MAX_WANTED = 512  # ranges of parts; a command takes 16 KB
Speed = Annotated[float, Field(ge=0.25, le=64)]


class CommandRole(StrEnum):
    """What the holder of a pinned command key is at the command centre."""

    OPERATOR = "operator"
    SUPERVISOR = "supervisor"
    TECHNICIAN = "technician"


class Args(BaseModel):
    """Arguments of one operation; unknown ones are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class NoArgs(Args):
    pass


class CameraArgs(Args):
    camera: Camera


class LiveStartArgs(Args):
    camera: Camera
    role: Role = Role.SUB
    lease_s: LeaseS = 30


class LiveRenewArgs(Args):
    """`lease` is the id of the `live.start` or `playback.start` that it prolongs."""

    session: Ulid
    lease: Ulid
    lease_s: LeaseS = 30


class LiveStopArgs(Args):
    session: Ulid
    lease: Ulid


class RangeArgs(Args):
    camera: Camera
    role: Role = Role.MAIN
    from_us: Moment
    to_us: Moment

    @model_validator(mode="after")
    def _forward(self) -> RangeArgs:
        if self.to_us <= self.from_us:
            raise ValueError("to_us is not after from_us")
        return self


class ClipArgs(RangeArgs):
    """`want`: parts as [first, last], ascending; none: all. `transfer` names the clip that they belong to."""

    transfer: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None
    want: Annotated[tuple[tuple[Part, Part], ...], Field(max_length=MAX_WANTED, strict=False)] = ()

    @model_validator(mode="after")
    def _ascending(self) -> ClipArgs:
        edges = [edge for first, last in self.want for edge in (2 * first, 2 * last + 1)]
        if any(later <= earlier for earlier, later in pairwise(edges)):
            raise ValueError("the wanted parts are not in order")
        if self.want and self.transfer is None:
            raise ValueError("parts of which transfer?")
        return self


class PlaybackStartArgs(RangeArgs):
    """`speed` 1 plays in real time; None sends as fast as the link gives.

    `proofs`: the box's tips records of that time come first, which tie footage to its ledger.
    """

    speed: Speed | None = 1.0
    proofs: bool = False


class PlaybackStopArgs(Args):
    session: Ulid


class PlaybackSeekArgs(Args):
    """`speed` None keeps the speed."""

    session: Ulid
    from_us: Moment
    speed: Speed | None = None


class HoldArgs(RangeArgs):
    case: Annotated[str, Field(min_length=1, max_length=64)]


class ReleaseArgs(Args):
    case: Annotated[str, Field(min_length=1, max_length=64)]


class WorkArgs(Args):
    """`cameras` empty: all of the site. At most a week ahead; 0 minutes end what was announced."""

    cameras: Annotated[tuple[Camera, ...], Field(max_length=64, strict=False)] = ()
    minutes: Annotated[int, Field(ge=0, le=7 * 24 * 60)]
    reason: Annotated[str, Field(min_length=3, max_length=200)]


class UpdateArgs(Args):
    version: Annotated[str, Field(min_length=1, max_length=32)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    url: Annotated[str, Field(pattern=r"^https://", max_length=512)]


@dataclass(frozen=True, slots=True)
class Operation:
    """`durable`: its id is written down before it is obeyed. `signatures`: keys of distinct roles needed."""

    args: type[Args]
    roles: frozenset[CommandRole]
    durable: bool = False
    signatures: int = 1


_WATCH = frozenset({CommandRole.OPERATOR, CommandRole.SUPERVISOR})
_SERVICE = frozenset({CommandRole.TECHNICIAN, CommandRole.SUPERVISOR})
_ANYONE = frozenset(CommandRole)

OPERATIONS: dict[str, Operation] = {
    "snapshot": Operation(CameraArgs, _WATCH),
    "live.start": Operation(LiveStartArgs, _WATCH),
    "live.renew": Operation(LiveRenewArgs, _WATCH),
    "live.stop": Operation(LiveStopArgs, _WATCH),
    "playback.start": Operation(PlaybackStartArgs, _WATCH),
    "playback.stop": Operation(PlaybackStopArgs, _WATCH),
    "playback.seek": Operation(PlaybackSeekArgs, _WATCH),
    "clip.fetch": Operation(ClipArgs, _WATCH),
    "ring.coverage": Operation(RangeArgs, _WATCH),
    "ring.hold": Operation(HoldArgs, _WATCH, durable=True),
    "ring.release": Operation(ReleaseArgs, _ANYONE, durable=True, signatures=2),
    "cameras.list": Operation(NoArgs, _ANYONE),
    "cameras.rediscover": Operation(NoArgs, _SERVICE),
    "work.announce": Operation(WorkArgs, _ANYONE),
    "config.report": Operation(NoArgs, _SERVICE),
    "diagnose": Operation(NoArgs, _ANYONE),
    "clock.report": Operation(NoArgs, _ANYONE),
    "restart": Operation(NoArgs, _SERVICE, durable=True),
    "reboot": Operation(NoArgs, _SERVICE, durable=True),
    "update": Operation(UpdateArgs, _ANYONE, durable=True, signatures=2),
    "keys.rotate": Operation(NoArgs, _ANYONE, durable=True, signatures=2),
    "wipe": Operation(NoArgs, _ANYONE, durable=True, signatures=2),
}
