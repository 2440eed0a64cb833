"""The agent's leaves: every fact that must not be lost, in the words of docs/ledger.md.

One place knows each leaf's fields; whoever learns a fact calls the method with its name. Main thread only.
"""

from __future__ import annotations

from threading import Event
from typing import Any

from edge_agent import __version__
from edge_agent.agent.gaps import Gap
from edge_agent.health.decisions import Sight
from edge_agent.ledger.leaf import CameraMark, mark
from edge_agent.ledger.writer import LedgerWriter
from edge_agent.model import Instant, StreamKey
from edge_agent.ring.facts import EvictionDue, RingFaulted, RingOpened, RingScanned
from edge_agent.uplink.commands import Command
from edge_agent.uplink.facts import CommandRefused
from edge_agent.uplink.messages import timestamp

MARKS = {
    Sight.UP: CameraMark.UP,
    Sight.SUSPECT: CameraMark.UP,  # not an outage until it has lasted
    Sight.DARK: CameraMark.LOST,
    Sight.UNUSABLE: CameraMark.DARK,
    Sight.UNKNOWN: CameraMark.UNKNOWN,
}


class Journal:
    def __init__(self, ledger: LedgerWriter, run_id: bytes) -> None:
        self._ledger = ledger
        self._run_id = run_id
        self._run = int.from_bytes(run_id[:4])

    def boot(self, ending: str, last_alive: Instant | None) -> None:
        """The run began; `ending` is how the one before ended, as far as the box can know."""
        self._ledger.append(
            "boot",
            {
                "software": __version__,
                "run": self._run_id.hex(),
                "before": ending,
                "alive": timestamp(last_alive.wall_us) if last_alive else None,
            },
            urgent=True,
        )

    def cameras(self, ids: list[str]) -> None:
        """The order of the letters in the marks that follow."""
        self._ledger.append("cameras", {"ids": ids})

    def mark(self, segments: list[int], beacon: bytes, cameras: list[CameraMark], tips: bytes) -> None:
        self._ledger.append("mark", mark(self._run, segments, beacon, cameras, tips))

    def camera(self, leaf: dict[str, Any], *, alarm: bool = True) -> None:
        """`alarm` False: planned work explains it, or it comes again and again; the next batch will do."""
        self._ledger.append("camera", leaf, urgent=alarm)

    def incident(self, leaf: dict[str, Any], *, alarm: bool = True) -> None:
        """One failure with all it took along: opened, told anew, or over."""
        self._ledger.append("incident", leaf, urgent=alarm)

    def work(self, leaf: dict[str, Any]) -> None:
        """Planned work was announced."""
        self._ledger.append("work", leaf, urgent=True)

    def gap(self, gap: Gap) -> None:
        """Recording of a stream paused; at most one leaf a stream and minute."""
        self._ledger.append(
            "gap",
            {
                "camera": gap.key.camera,
                "role": gap.key.role.value,
                "count": gap.count,
                "since": timestamp(gap.since.wall_us),
                "until": timestamp(gap.until.wall_us),
                "lost_s": round(gap.lost_s, 1),
                "text": gap.reason[:256],
            },
        )

    def recorder(self, name: str, address: str, step: str, sentence: str) -> None:
        """A recorder that answered before does not, or the other way round (`step` empty)."""
        self._ledger.append(
            "recorder",
            {"recorder": name, "address": address, "step": step, "text": sentence[:512]},
            urgent=True,
        )

    def command(self, command: Command, outcome: str, text: str = "") -> None:
        """received, done or failed: the shopkeeper can read who looked at his cameras, and why."""
        self._ledger.append(
            "command",
            {
                "id": command.id,
                "op": command.op,
                "camera": command.args.get("camera"),
                "operator": command.operator,
                "reason": command.reason,
                "kid": ",".join(command.kids),
                "status": outcome,
                "text": text[:256],
            },
        )

    def refused(self, fact: CommandRefused) -> None:
        self._ledger.append(
            "command",
            {
                "id": fact.command_id,
                "op": fact.op,
                "operator": fact.operator,
                "kid": fact.kid,
                "status": "refused",
                "code": fact.code.value,
            },
        )

    def quarantined(self, stream: str, reason: str) -> None:
        self._ledger.append("quarantine", {"stream": stream, "text": reason[:256]}, urgent=True)

    def converted(self, key: StreamKey, converted: str) -> None:
        """From now on the stream's pictures are not the camera's own bits; or, empty, they are again."""
        text = converted or "recorded as it comes again"
        self._ledger.append(
            "converted", {"camera": key.camera, "role": key.role.value, "text": text[:256]}, urgent=True
        )

    def worker_failed(self, worker: str, reason: str) -> None:
        self._ledger.append("worker", {"worker": worker, "text": reason[:256]}, urgent=True)

    def strangers(self, leaf: dict[str, Any]) -> None:
        """Bytes from outside that nobody we know has signed; one leaf a minute at most."""
        self._ledger.append("strangers", leaf)

    def local(self, op: str, who: str, camera: str = "") -> None:
        """Somebody at the shop looked."""
        self._ledger.append("local", {"op": op, "who": who, "camera": camera})

    def exported(self, told: dict[str, Any]) -> None:
        """Footage left the box in clear, by somebody who holds the site's key."""
        self._ledger.append("export", told, urgent=True)

    def hold(self, told: dict[str, Any], *, alarm: bool) -> Event:
        """Footage was copied to where no retention reaches it. `alarm`: for a case.

        The event is set when the leaf is durable.
        """
        return self._ledger.append_tracked("hold", told, urgent=alarm)

    def release(self, told: dict[str, Any]) -> Event:
        """What was held for a case may be removed when the event that comes back is set."""
        return self._ledger.append_tracked("release", told)

    def ring_opened(self, fact: RingOpened) -> None:
        self._ledger.append(
            "ring",
            {
                "role": fact.role.value,
                "held": fact.held_bytes,
                "segments": fact.segments,
                "clean": fact.clean,
            },
        )

    def ring_scanned(self, fact: RingScanned) -> None:
        if fact.damaged_ranges:
            self._ledger.append(
                "damage",
                {"role": fact.role.value, "ranges": fact.damaged_ranges, "bytes": fact.damaged_bytes},
                urgent=True,
            )

    def ring_faulted(self, fact: RingFaulted) -> None:
        self._ledger.append(
            "ring_fault",
            {"role": fact.role.value, "segment": fact.segment, "text": fact.reason[:256]},
            urgent=True,
        )

    def ring_recovered(self, role: str, down_s: float) -> None:
        self._ledger.append("ring_recovered", {"role": role, "down_s": round(down_s, 1)}, urgent=True)

    def eviction(self, fact: EvictionDue) -> Event:
        """The segment may be unlinked when the event that comes back is set: the leaf is durable then.

        A full ring evicts all day long, so the command centre is told with the next heartbeat.
        """
        segment = fact.segment
        return self._ledger.append_tracked(
            "eviction",
            {
                "role": fact.role.value,
                "segment": segment.number,
                "bytes": segment.size,
                "from": timestamp(segment.from_us) if segment.from_us else None,
                "to": timestamp(segment.to_us) if segment.to_us else None,
                "reason": fact.reason,
            },
            urgent=False,
        )

    def forked(self, reason: str) -> None:
        """Somebody else signs with this box's key: urgent, though nothing is signed any more."""
        self._ledger.append("forked", {"text": reason[:256]}, urgent=True)

    def unwitnessed(self, waited_s: float) -> None:
        """Signing began although the command centre's newest note was never read."""
        self._ledger.append("unwitnessed", {"waited_s": round(waited_s)}, urgent=True)

    def clock_step(self, step_s: float, trust: int) -> None:
        self._ledger.append("clock_step", {"step_s": round(step_s, 3), "trust": trust}, urgent=True)

    def stood_still(self, seconds: float) -> None:
        """The box did not run: gaps of this time are its own, no camera's."""
        self._ledger.append("standstill", {"lost_s": round(seconds, 1)}, urgent=True)

    def policy(self, leaf: dict[str, Any]) -> None:
        """A policy of the command centre holds from now on."""
        self._ledger.append("policy", leaf, urgent=True)

    def night(self, leaf: dict[str, Any]) -> None:
        """A part of the nightly record."""
        self._ledger.append("night", leaf, urgent=True)

    def data_budget(self, leaf: dict[str, Any]) -> None:
        """So much of the month's data is used."""
        self._ledger.append("data_budget", leaf, urgent=True)

    def backup(self, leaf: dict[str, Any], *, short: bool) -> None:
        """The backup reaches back less far than is demanded, or far enough again."""
        if short:
            self._ledger.append("backup_short", leaf, urgent=True)
        else:
            self._ledger.append("backup_enough", leaf, urgent=True)

    def config_changed(self) -> None:
        self._ledger.append("config", {"text": "edited at the box"}, urgent=True)

    def stop(self, reason: str) -> None:
        """An orderly end."""
        self._ledger.append("stop", {"text": reason}, urgent=True)
