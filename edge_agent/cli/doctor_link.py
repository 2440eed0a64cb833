"""Examines the way to the command centre step by step; what fails ends what depends on it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from edge_agent.clock import Clock
from edge_agent.config import Config
from edge_agent.model import ClockTrust
from edge_agent.uplink import probe, probe_judge, settings
from edge_agent.uplink.link import Broker, LinkSettings
from edge_agent.uplink.probe_judge import Goodput, State, Step, Streams
from edge_agent.uplink.probe_reach import ProbeFailed, Reached, reach

ROUND_TRIPS = 10
PAUSES_S = (15.0, 30.0, 60.0, 120.0, 300.0)
FIREWALL = (
    "see the steps below; if all are good, the service's own firewall lacks the broker: install --allow"
)
Tell = Callable[[Step], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the technician wants. `pauses_s` empty: how long idle connections live is not tried."""

    seconds: float = 5.0
    budget_bytes: int = 3_000_000
    pauses_s: Sequence[float] = ()


@dataclass(slots=True)
class Report:
    """What was found: sentences for people, figures for programs; what is missing was not measured."""

    site: str
    steps: list[Step] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        return all(step.state is not State.BAD for step in self.steps)

    def document(self) -> dict[str, Any]:
        return {
            "site": self.site,
            "good": self.good,
            "steps": [asdict(step) for step in self.steps],
            "figures": self.figures,
        }


class LinkDoctor:
    """One examination. `status` asks the running agent; None when there is none to ask.

    `tell` hears each step as it is done, `busy` what begins and takes a while.
    """

    def __init__(
        self,
        config: Config,
        status: Callable[[], dict[str, Any] | None],
        clock: Clock,
        tell: Tell,
        busy: Callable[[str], None],
    ) -> None:
        self._config = config
        self._ask_status = status
        self._status: dict[str, Any] | None = None
        self._clock = clock
        self._tell = tell
        self._busy = busy
        self._report = Report(config.site.id)

    def examine(self, asked: Asked) -> Report:
        self._agent()
        site, uplink = self._config.site.id, self._config.uplink
        control, media = settings.control_settings(site, uplink), settings.media_settings(site, uplink)
        if control is None or media is None:
            self._say(
                Step("broker", State.BAD, "no broker is configured", "fill in uplink in the configuration")
            )
            return self._report
        self._clock_step()
        certificates = self._certificates(control, media)
        reached = self._first_reached(media)
        if reached is None or not certificates or not self._may_measure(media, control):
            return self._report
        try:
            self._measure(media, control, reached, asked)
        except ProbeFailed as failed:
            if in_use(
                self._ask_status()
            ):  # a broker that throws us out in mid-flow is seldom heard saying so
                self._viewers("somebody began to watch")
            else:
                self._failed(failed)
        except probe.ViewerCame as came:
            self._viewers(str(came))
        return self._report

    def _agent(self) -> None:
        self._status = self._ask_status()
        if self._status is None:
            told = "not running, or not ours to ask: bit rates are usual ones"
            self._say(Step("agent", State.NOTE, told, "systemctl status edge-agent; run this with sudo"))
            return
        link = self._status["link"]
        if link["up"]:
            self._say(Step("agent", State.GOOD, f"runs and is connected to {link['broker']}"))
        else:
            told = f"runs and is not connected: {link['reason'] or 'no broker reached yet'}"
            self._say(Step("agent", State.NOTE, told, FIREWALL))

    def _clock_step(self) -> None:
        trust = self._clock.now().trust
        if trust is ClockTrust.NTP:
            self._say(Step("clock", State.GOOD, "kept by NTP"))
        else:
            told = "not kept by NTP now; certificates and commands depend on the right time"
            self._say(Step("clock", State.NOTE, told, "timedatectl; is UDP port 123 open?"))

    def _certificates(self, control: LinkSettings, media: LinkSettings) -> bool:
        steps = [_certificate("control", control.certificate, control.client_id, self._clock)]
        if media.certificate != control.certificate:
            steps.append(_certificate("media", media.certificate, media.client_id, self._clock))
        for step in steps:
            self._say(step)
        return all(step.state is not State.BAD for step in steps)

    def _first_reached(self, media: LinkSettings) -> Broker | None:
        """Every broker is looked at; measured is the first that can be reached."""
        first = None
        for broker in media.brokers:
            self._busy(f"knocking at {broker}")
            try:
                self._reached(broker, reach(media, broker, self._clock), first is None)
                first = first or broker
            except ProbeFailed as failed:
                self._failed(failed)
        return first

    def _reached(self, broker: Broker, found: Reached, first: bool) -> None:
        took = {"dns_ms": found.dns_s, "connect_ms": found.connect_s, "tls_ms": found.tls_s}
        if first:
            self._report.figures |= {"broker": str(broker)} | {k: round(v * 1000) for k, v in took.items()}
        told = ", ".join(f"{name.removesuffix('_ms')} {s * 1000:.0f} ms" for name, s in took.items())
        days = (found.good_until - _now(self._clock)).days
        told = f"{broker} at {found.address}: {told}; its certificate is good for {days} days"
        if days < probe_judge.CERTIFICATE_DAYS:
            self._say(Step("reached", State.NOTE, told, "the command centre must renew its certificate"))
        else:
            self._say(Step("reached", State.GOOD, told))

    def _may_measure(self, media: LinkSettings, control: LinkSettings) -> bool:
        """Brokers know us by certificate: under the control one we would throw out the running agent."""
        if media.certificate == control.certificate:
            told = "no media certificate: measuring would cut the agent's own connection"
            self._say(Step("broker", State.BAD, told, "set uplink.media_certificate and uplink.media_key"))
            return False
        if in_use(self._status):
            self._viewers("somebody watches or did just now: the line is in use and was not measured")
            return False
        return True

    def _measure(self, media: LinkSettings, control: LinkSettings, broker: Broker, asked: Asked) -> None:
        uplink, figures = self._config.uplink, self._report.figures
        self._busy("asking the broker")
        with self._connect(media, broker) as line:
            trips = line.round_trips(ROUND_TRIPS)
            ordered = sorted(round(s * 1000, 1) for s in trips)
            figures["round_trip_ms"] = dict(
                zip(
                    ("least", "middle", "worst"),
                    (ordered[0], ordered[len(ordered) // 2], ordered[-1]),
                    strict=True,
                )
            )
            self._say(probe_judge.round_trip(trips))
            self._busy(f"filling the line for {asked.seconds:.0f} s")
            found = line.goodput(asked.seconds, asked.budget_bytes * 2 // 3)
            calm = self._calm(line, found, asked)
        figures |= {"goodput_kbps": round(found.kbps), "sent_bytes": found.sent_bytes, "loss": calm.loss}
        self._say(probe_judge.goodput(found))
        self._say(probe_judge.loss(calm))
        streams = known_streams(self._status)
        carries = probe_judge.carries(found.kbps, streams, uplink.max_kbps)
        figures["carries"] = asdict(carries) | asdict(streams)
        if asked.pauses_s:
            self._idle(media, control, broker, asked.pauses_s)
        self._say(probe_judge.verdict(carries, streams, uplink.max_kbps))

    def _calm(self, line: probe.Probe, found: Goodput, asked: Asked) -> Goodput:
        """Loss on a full line may be a short queue's: then it is counted again at half the speed."""
        if (found.loss or 0) < probe_judge.LOSS_NOTED:
            return found
        self._busy("counting what is lost at half the speed")
        return line.goodput(asked.seconds, asked.budget_bytes // 3, found.kbps / 2)

    def _idle(
        self, media: LinkSettings, control: LinkSettings, broker: Broker, pauses: Sequence[float]
    ) -> None:
        found = probe.idle_limit(
            lambda: self._connect(media, broker),
            pauses,
            lambda pause_s: self._busy(f"saying nothing for {pause_s:.0f} s"),
        )
        self._report.figures["idle"] = asdict(found)
        self._say(probe_judge.idle(found, control.keepalive_s, self._config.uplink.heartbeat_s))

    def _connect(self, media: LinkSettings, broker: Broker) -> AbstractContextManager[probe.Probe]:
        return probe.probing(self._config.site.id, media, broker, self._clock)

    def _viewers(self, told: str) -> None:
        self._say(Step("viewers", State.NOTE, told, "measure again when nobody watches"))

    def _failed(self, failed: ProbeFailed) -> None:
        self._say(Step(failed.step, State.BAD, str(failed), failed.cure))

    def _say(self, step: Step) -> None:
        self._report.steps.append(step)
        self._tell(step)


def in_use(status: dict[str, Any] | None) -> bool:
    """Whether the running agent has, or is about to open, the connection whose name we borrow."""
    link = (status or {}).get("link", {})
    return any(link.get(word) for word in ("media_connected", "live", "playback"))


def known_streams(status: dict[str, Any] | None) -> Streams:
    """The largest stream of each kind that the running agent receives; usual figures for what it has not."""
    rates: dict[str, int] = {}
    for camera in (status or {}).get("cameras", []):
        for role, stream in camera["streams"].items():
            rates[role] = max(rates.get(role, 0), stream["kbps"])
    main, sub = rates.get("main", 0), rates.get("sub", 0)
    usual = Streams()
    return Streams(main or usual.main_kbps, sub or usual.sub_kbps, bool(main or sub))


def _certificate(whose: str, path: Path, expected: str, clock: Clock) -> Step:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a PEM certificate"
        cure = "check the path in uplink, and the file's owner and mode; use sudo"
        return Step(f"{whose} certificate", State.BAD, f"{path}: {why}", cure)
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    name = str(names[0].value) if names else ""
    left = certificate.not_valid_after_utc - _now(clock)
    return probe_judge.certificate(whose, name, expected, left.days)


def _now(clock: Clock) -> datetime:
    return datetime.fromtimestamp(clock.now().wall_us / 1e6, UTC)
