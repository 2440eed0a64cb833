"""Every JSON message of protocol v1, as frozen models; the JSON Schemas in docs/schemas come from here. Pure.

A reader ignores fields it does not know, so that boxes and command centres of neighbouring versions
understand each other. `encode` and `decode` are the only doors.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError

from edge_agent import deflate
from edge_agent.clock import timestamp as timestamp
from edge_agent.config import CAMERA_ID, SITE_ID
from edge_agent.errors import FormatError
from edge_agent.model import Role
from edge_agent.uplink import jws
from edge_agent.uplink.operations import Ulid

VERSION = 1
MAX_MESSAGE = 64 * 1024
MESSAGE_TYP = "edge-message+jws"

Text = Annotated[str, Field(max_length=512)]
Name = Annotated[str, Field(max_length=128)]
Base64 = Annotated[str, Field(pattern=r"^[A-Za-z0-9+/]*={0,2}$", max_length=16 * 1024)]
Hex16 = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
CameraName = Annotated[str, Field(pattern=CAMERA_ID)]
Count = Annotated[int, Field(ge=0, lt=2**53)]
Timestamp = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")]


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False)


class Envelope(Model):
    """Around every message. `session` is the nonce of the connection's birth, `seq` counts from 0 in it.

    `ts` is wall time in UTC, for people; `mono` is milliseconds since the box started, for intervals.
    """

    v: Literal[1] = 1
    id: Ulid
    session: Ulid
    seq: Count
    ts: Timestamp
    mono: Count


class Liveness(StrEnum):
    ONLINE = "online"
    OFFLINE = "offline"


class StateData(Model):
    """`cause` of an orderly goodbye, empty in the last will."""

    state: Liveness
    cause: Text = ""


class CameraInfo(Model):
    id: CameraName
    name: Name = ""
    recorder: Name = ""
    channel: Count | None = None
    streams: dict[Role, Hex16] = {}  # role -> stream id, as in record headers
    verified: bool = True


class KeyInfo(Model):
    """A public key of the box. `use` is `box` for the one that signs key records, births and replies."""

    use: Name
    kid: Name
    public: Base64


class BirthData(Model):
    """Who is here. Retained and signed by the box; its `session` binds every later command."""

    site: Annotated[str, Field(pattern=SITE_ID)]
    name: Text = ""
    kind: Name = ""
    boot: Hex16
    software: Name
    protocol: Count = VERSION
    timezone: Name = "UTC"
    coordinates: tuple[float, float] | None = None
    address: Text = ""
    contact: Text = ""  # whom the command centre calls
    licence: Name = ""
    clean_shutdown: bool = False
    last_alive: Timestamp | None = None  # newest durable sign of life of the run before
    cameras: tuple[CameraInfo, ...] = ()
    keys: tuple[KeyInfo, ...] = ()
    groups: tuple[CameraName, ...] = ()
    operations: tuple[Name, ...] = ()


class CameraState(Model):
    """`state` is up, suspect, dark, unusable or unknown; `verdict` and `incident` say why and with whom."""

    id: CameraName
    state: Name
    since: Timestamp | None = None
    due: bool = True  # must be on now
    cause: Text = ""
    verdict: Name = ""
    incident: Name = ""


class RingState(Model):
    used_bytes: Count
    budget_bytes: Count
    oldest: Timestamp | None = None
    dropped: Count = 0
    faults: Count = 0
    holds_days: float | None = None
    will_hold_days: float | None = None  # at the present rate
    required_days: Count | None = None
    short: bool = False  # told as an event, too


class HostState(Model):
    uptime_s: Count
    cpu_percent: float | None = None
    memory_mb: Count | None = None
    temperature_c: float | None = None
    disk_free_bytes: Count | None = None
    undervoltage: bool | None = None
    counters: dict[Name, Count] = {}  # every queue's drops, by name


class ClockState(Model):
    """`trust` as in record headers: 0 none, 1 saved or RTC, 2 NTP, 3 witness."""

    trust: Annotated[int, Field(ge=0, le=3)]
    offset_ms: float | None = None


class WantPart(Model):
    """Leaves that a box set back by a power cut asks for: [first, first + count)."""

    first: Count
    count: Count


class LedgerPart(Model):
    """The waiting leaves `first`, `first + 1`, ... and the checkpoint signed over all up to the last.

    Leaves are lines of JSON, exactly as the ledger holds them; the checkpoint is a C2SP signed note.
    """

    first: Count
    leaves: tuple[Annotated[str, Field(max_length=4096)], ...] = ()
    checkpoint: Annotated[str, Field(max_length=4096)] = ""
    fetch: WantPart | None = None


class HeartbeatData(Model):
    """Parts that did not change since the last heartbeat of this session may be left out."""

    cameras: tuple[CameraState, ...] = ()
    ring: RingState | None = None
    host: HostState | None = None
    clock: ClockState | None = None
    ledger: LedgerPart | None = None


class EventData(Model):
    """One urgent fact. With a ledger, `leaf` is authoritative and the rest is for reading."""

    kind: Name
    camera: CameraName | None = None
    since: Timestamp | None = None
    text: Text = ""
    detail: dict[str, JsonValue] = {}
    index: Count | None = None
    leaf: Annotated[str, Field(max_length=4096)] | None = None


class Lifecycle(StrEnum):
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    PROGRESS = "progress"
    DONE = "done"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class ReplyData(Model):
    """Where a command stands. `code` with `rejected` and `failed`, `progress` in percent."""

    command: Ulid
    op: Name = ""
    status: Lifecycle
    code: Name = ""
    text: Text = ""
    progress: Annotated[int, Field(ge=0, le=100)] | None = None
    result: dict[str, JsonValue] = {}


class LiveStarted(Model):
    """Result of `live.start` and `playback.start`: which records of the media session to believe."""

    session: Ulid
    lease: Ulid
    topic: Name
    epoch: Hex16 | None = None  # None: nothing was recorded yet
    first: Count | None = None  # number of the first record after key and init
    lease_s: Count = 0
    role: Role | None = None  # the stream that is served; None: the one that was asked for
    note: Text | None = None  # why it is another one, or why pictures come late


class State(Envelope):
    type: Literal["state"] = "state"
    data: StateData


class Birth(Envelope):
    type: Literal["birth"] = "birth"
    data: BirthData


class Heartbeat(Envelope):
    type: Literal["heartbeat"] = "heartbeat"
    data: HeartbeatData


class Event(Envelope):
    type: Literal["event"] = "event"
    data: EventData


class Reply(Envelope):
    type: Literal["reply"] = "reply"
    data: ReplyData


Message = State | Birth | Heartbeat | Event | Reply
MESSAGES: tuple[type[Envelope], ...] = (State, Birth, Heartbeat, Event, Reply)
_ANY: TypeAdapter[Message] = TypeAdapter(Annotated[Message, Field(discriminator="type")])


def encode(message: Message) -> bytes:
    """Compact JSON; what is at its default is left out. Raises FormatError when it is too long to send."""
    body = message.model_dump_json(exclude_none=True, exclude_defaults=True)
    head = f'{{"v":{VERSION},"type":"{message.type}",'
    payload = (head + body[1:]).encode()
    if len(payload) > MAX_MESSAGE:
        raise FormatError(f"a {message.type} of {len(payload)} bytes; at most {MAX_MESSAGE}")
    return payload


def decode(payload: bytes) -> Message:
    """Read a message as it came from a broker. Raises FormatError, whatever the bytes are."""
    if len(payload) > MAX_MESSAGE:
        raise FormatError(f"a message of {len(payload)} bytes; at most {MAX_MESSAGE}")
    text = deflate.expand(payload)
    try:
        return _ANY.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(p) for p in first["loc"])
        raise FormatError(f"not a message of protocol v{VERSION}: {where}: {first['msg']}") from error


def sign_message(private_key: Ed25519PrivateKey, kid: str, message: Message) -> bytes:
    """A birth or reply under the box's own key, so that the broker cannot speak for the box."""
    return jws.sign(private_key, kid, MESSAGE_TYP, encode(message))


def verify_message(payload: bytes, public_key: Ed25519PublicKey) -> Message:
    """The message if the box's key signed it. Raises FormatError or one of its kin in `jws`."""
    return decode(jws.verify(payload, MESSAGE_TYP, lambda _kid: public_key).payload)


def wall_us(text: str) -> int:
    """Microseconds of a `Timestamp`. Raises FormatError."""
    try:
        moment = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z")
    except ValueError as error:
        raise FormatError("not a timestamp") from error
    return round(moment.timestamp() * 1000) * 1000
