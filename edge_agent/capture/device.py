"""Ask one device everything, step by step: reachable, clock, auth, services, channels, streams.

Each step ends in a sentence, or in a DeviceError whose text tells the technician what to do. Recording never
waits for this; ONVIF may be switched off and cameras be given by URL.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from edge_agent.capture import web
from edge_agent.capture.channels import Channel, Identity
from edge_agent.capture.channels import uid as camera_uid
from edge_agent.capture.lockout import Lockouts
from edge_agent.capture.ports import CredentialGate
from edge_agent.capture.web import TIMEOUT_S, Trouble, WebError
from edge_agent.clock import Clock
from edge_agent.errors import DeviceError
from edge_agent.model import Credentials

__all__ = ["Channel", "DeviceReport", "Identity", "Step", "camera_uid", "probe"]

BUDGET_S = 60.0
CURES = {
    Trouble.REFUSED: "is the port right and ONVIF switched on? Recorders use 80, 8000, 8080, 8899 or 8999",
    Trouble.UNREACHABLE: "is the recorder on, its cable in, and the address right?",
    Trouble.SILENT: "the device hangs; restart the recorder if this stays",
    Trouble.BROKEN: "is this the port of ONVIF? Recorders use 80, 8000, 8080, 8899 or 8999",
    Trouble.TOO_BIG: "this is no ONVIF device",
    Trouble.REDIRECT: "switch HTTP on beside HTTPS in the recorder's network menu",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step passed. `name` is one of reachable, clock, auth, services, channels, streams."""

    name: str
    sentence: str


@dataclass(frozen=True, slots=True)
class DeviceReport:
    """All that a device told. `clock_offset_s` is the device's clock minus ours; None: it tells no time."""

    identity: Identity
    clock_offset_s: float | None
    channels: tuple[Channel, ...]
    steps: tuple[Step, ...]
    events: tuple[str, int] | None = None  # path and port of the event service, if it names one


def probe(
    address: str,
    port: int,
    credentials: Credentials | None,
    *,
    clock: Clock,
    on_step: Callable[[Step], None] | None = None,
    gate: CredentialGate | None = None,
    budget_s: float = BUDGET_S,
    timeout_s: float = TIMEOUT_S,
) -> DeviceReport:
    """Ask the ONVIF device at `address:port`; blocks, at most about `budget_s`, each answer at
    most `timeout_s`. Writes nothing to the device.

    `on_step` is called in this thread after each step, and between the streams. `gate` counts the wrong
    passwords, together with whoever streams from the device. Raises DeviceError with the step that failed.
    """
    _knock(address, port)
    # lxml and zeep, some 25 MB: only when something answers
    from edge_agent.capture.interview import Interview
    from edge_agent.capture.session import Session

    session = Session(address, port, credentials, clock, gate or Lockouts(), timeout_s=timeout_s)
    return Interview(session, clock, on_step, clock.monotonic() + budget_s).run()


def _knock(address: str, port: int) -> None:
    try:
        web.knock(address, port)
    except WebError as error:
        raise DeviceError("reachable", f"{error}: {CURES[error.trouble]}") from error
