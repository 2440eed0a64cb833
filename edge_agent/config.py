"""The configuration: TOML read into frozen models. Unknown keys are refused, all errors told at once."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from edge_agent.config_values import Hours, Latitude, Longitude, PublicKey, StreamUrl, VerifierKey, Zone
from edge_agent.errors import ConfigError

GIB = 1024**3
SITE_ID = r"^[a-z0-9][a-z0-9-]{2,62}$"
CAMERA_ID = r"^[a-z0-9][a-z0-9-]{0,30}$"
_LENGTHS = {SITE_ID: "3 to 63 of them", CAMERA_ID: "at most 31"}

Kind = Literal[
    "petrol_pump", "liquor_shop", "bank", "market", "mall", "school", "coaching", "colony", "other"
]


class Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class Site(Model):
    """Who and where. `id` is unique in the city and equals the certificate's common name."""

    id: Annotated[str, Field(pattern=SITE_ID)]
    name: str
    kind: Kind = "other"
    licence: str = ""
    address: str = ""
    coordinates: tuple[Latitude, Longitude] | None = None
    contact: str = ""
    timezone: Zone = "Asia/Kolkata"
    duty: Hours = ("00:00-24:00",)


class Recorder(Model):
    """A DVR or NVR. Without `address` it is the one that discovery finds, by `endpoint` among several."""

    name: Annotated[str, Field(pattern=CAMERA_ID)] = "dvr"
    address: str = ""
    endpoint: str = ""  # WS-Discovery endpoint reference, urn:uuid:...: survives a DHCP change
    onvif_port: int | None = Field(None, ge=1, le=65535)
    rtsp_port: int | None = Field(None, ge=1, le=65535)
    username: str = ""
    password: SecretStr = SecretStr("")
    password_file: Path | None = None
    brand: Literal["auto", "dahua", "hikvision", "tvt", "xm", "uniview"] = "auto"
    channels: tuple[int, ...] = ()  # empty: all
    colour: Annotated[str, Field(max_length=40)] = ""  # of its case: a certificate asks for it

    def secret(self) -> str:
        """The password, from the file if one is named. Raises OSError when it cannot be read."""
        if self.password_file is not None:
            return self.password_file.read_text(encoding="utf-8").strip()
        return self.password.get_secret_value()


class CameraEntry(Model):
    """A camera added by hand, or what is known better than the recorder says."""

    id: Annotated[str, Field(pattern=CAMERA_ID)]
    name: str = ""
    url: StreamUrl = SecretStr("")
    sub_url: StreamUrl = SecretStr("")
    recorder: str = ""
    channel: int | None = Field(None, ge=1, le=256)
    duty: Hours | None = None
    enabled: bool = True


class Discovery(Model):
    enabled: bool = True
    interfaces: tuple[str, ...] = ()  # empty: every interface that is up, but loopback
    sweep: bool = True
    rediscover_minutes: int = Field(30, ge=1)


class Capture(Model):
    main: Literal["record", "off"] = "record"
    sub: Literal["record", "warm", "on_demand", "off"] = "warm"
    silence_s: float = Field(5.0, ge=1, le=60)  # no video packets for so long: the stream is lost
    fragment_ms: int = Field(200, ge=50, le=2000)
    gather_ms: int = Field(20, ge=0, le=100)


class RingClass(Model):
    """One retention class. A ring without a bound is refused."""

    max_bytes: int = Field(50 * GIB, ge=16 * 1024**2)
    max_age_days: int | None = Field(None, ge=1)
    sync_s: float = Field(0.6, ge=0.1, le=10)


class Evidence(Model):
    """What is held for cases, and what the night watch holds by itself; neither is ever evicted for age."""

    directory: Path | None = None  # default: <ring.directory>/evidence
    max_bytes: int = Field(5 * GIB, ge=16 * 1024**2)
    automatic_bytes: int = Field(1 * GIB, ge=0)


class Ring(Model):
    directory: Path = Path("/var/lib/edge-agent/ring")
    min_free_bytes: int = Field(1 * GIB, ge=0)
    segment_bytes: int = Field(1 * GIB, ge=1024**2, le=1 * GIB)
    segment_seconds: int = Field(600, ge=10, le=600)
    main: RingClass = RingClass()
    sub: RingClass = RingClass(max_bytes=20 * GIB, sync_s=5.0)
    required_days: int = Field(30, ge=1)
    evidence: Evidence = Evidence()


class Recipient(Model):
    """A public key to which every epoch's key is sealed (HPKE, X25519), base64 of 32 bytes."""

    id: str
    public_key: PublicKey


class CommandKey(Model):
    """A key whose signed commands are obeyed, and in which role. Base64 of 32 bytes, Ed25519."""

    kid: str
    role: Literal["operator", "supervisor", "technician"]
    public_key: PublicKey


class Keys(Model):
    """`box` is made at first start. `recipients` decide who can ever see the footage."""

    box: Path | None = None  # default: <state>/box.key
    recipients: tuple[Recipient, ...] = ()
    site_recipient: Recipient | None = None
    commands: tuple[CommandKey, ...] = ()
    witness: VerifierKey = ""  # C2SP vkey: name+hash+base64
    mirror: VerifierKey = ""
    aead: Literal["auto", "aes-256-gcm", "chacha20-poly1305"] = "auto"


class Uplink(Model):
    enabled: bool = True
    brokers: tuple[str, ...] = ()  # mqtts://host:8883, tried in order
    allow_redirects: tuple[str, ...] = ()  # further hosts that a broker may send the box to
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None
    media_certificate: Path | None = None
    media_key: Path | None = None
    heartbeat_s: float = Field(60, ge=1, le=3600)
    metered: bool = False
    max_kbps: int | None = Field(None, ge=64)
    monthly_mb: int | None = Field(None, ge=1)
    media_linger_s: float = Field(30, ge=0)

    @field_validator("brokers")
    @classmethod
    def _encrypted(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in value:
            if not re.match(r"^mqtts://[^/:@\s]+(:\d+)?$", url):
                raise ValueError(f"{url!r} is not mqtts://host[:port]")
        return value

    @model_validator(mode="after")
    def _complete(self) -> Uplink:
        if self.enabled and self.brokers:
            missing = [n for n in ("ca", "certificate", "key") if getattr(self, n) is None]
            if missing:
                raise ValueError(f"brokers are named, but not {', '.join(missing)}")
        return self


class Snapshots(Model):
    every_minutes: int = Field(60, ge=1)
    enabled: bool | None = None  # None: on, but off on a metered link
    quality: int = Field(80, ge=30, le=95)


class Power(Model):
    """Where mains power is told: `[ups@]host[:port]` of a UPS daemon (NUT), `auto` for one on this box."""

    nut: str = "auto"

    @field_validator("nut")
    @classmethod
    def _address(cls, value: str) -> str:
        if value not in ("auto", "off") and not re.match(r"^([\w.-]+@)?[\w.-]+(:\d{1,5})?$", value):
            raise ValueError(f"{value!r} is not auto, off or [ups@]host[:port]")
        return value


class Watch(Model):
    """How often the night watch looks. The defaults are what its rules were measured with."""

    pulse_s: float = Field(10, ge=1, le=60)
    picture_s: float = Field(10, ge=1, le=300)
    knock_s: float = Field(5, ge=0.5, le=60)
    power_s: float = Field(5, ge=0.5, le=60)
    net_s: float = Field(30, ge=1, le=300)
    device_clock_s: float = Field(300, ge=5, le=3600)


class State(Model):
    directory: Path = Path("/var/lib/edge-agent")
    socket: Path | None = None  # default: <directory>/control.sock


class Config(Model):
    site: Site
    state: State = State()
    recorders: tuple[Recorder, ...] = ()
    cameras: tuple[CameraEntry, ...] = ()
    discovery: Discovery = Discovery()
    capture: Capture = Capture()
    ring: Ring = Ring()
    keys: Keys = Keys()
    uplink: Uplink = Uplink()
    snapshots: Snapshots = Snapshots()
    power: Power = Power()
    watch: Watch = Watch()
    log_level: Literal["DEBUG", "INFO", "WARNING"] = "INFO"

    @model_validator(mode="after")
    def _unique_names(self) -> Config:
        for what, names in (
            ("camera", [c.id for c in self.cameras]),
            ("recorder", [r.name for r in self.recorders]),
        ):
            twice = sorted({n for n in names if names.count(n) > 1})
            if twice:
                raise ValueError(f"{what} {', '.join(twice)} is configured twice")
        return self

    @property
    def control_socket(self) -> Path:
        return self.state.socket or self.state.directory / "control.sock"

    @property
    def evidence_directory(self) -> Path:
        return self.ring.evidence.directory or self.ring.directory / "evidence"

    @property
    def box_key(self) -> Path:
        return self.keys.box or self.state.directory / "box.key"


def load(path: Path) -> Config:
    """Read and check the file. Raises ConfigError that names the file and every wrong key."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror or error}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError([f"{path}: not valid TOML: {error}"]) from error
    return parse(document, str(path))


def parse(document: dict[str, Any], origin: str = "configuration") -> Config:
    try:
        return Config.model_validate(document)
    except ValidationError as error:
        raise ConfigError([f"{origin}: {_explain(e)}" for e in error.errors()]) from error


def _explain(problem: Any) -> str:
    """`ring.main.max_bytes: ...`; never echoes the value, which may be a password."""
    where = ".".join(str(p) for p in problem["loc"]) or "file"
    if problem["type"] == "extra_forbidden":
        return f"{where}: unknown key"
    if problem["type"] == "string_pattern_mismatch":
        return f"{where}: small letters, digits and hyphens, {_LENGTHS[problem['ctx']['pattern']]}"
    return f"{where}: {problem['msg'].removeprefix('Value error, ')}"
