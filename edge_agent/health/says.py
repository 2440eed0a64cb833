"""Every sentence of evidence, in one place: what was observed, in plain words, and never a person. Pure."""

from __future__ import annotations

from edge_agent.clock import timestamp
from edge_agent.health.decisions import Evidence
from edge_agent.health.signals import (
    BoxStarted,
    BoxStoodStill,
    ClockStepped,
    DeviceClock,
    DeviceSaid,
    Ended,
    HostKnocked,
    Mains,
    MainsSeen,
    NetSeen,
    StreamSilent,
)
from edge_agent.health.site import Battery
from edge_agent.model import Instant

_ENDINGS = {
    Ended.STOPPED: "The agent was stopped in order.",
    Ended.BOX_SHUTDOWN: "The box was shut down in order.",
    Ended.KILLED: "The agent ended without a farewell; the box itself went on running.",
    Ended.POWER_LOST: "The box started anew without having been shut down.",
    Ended.FIRST: "The agent runs for the first time.",
}
_MAINS = {
    Mains.ON: "Mains power is present",
    Mains.BATTERY: "Mains power is lost",
    Mains.UNKNOWN: "Mains power is not known",
}


def together(count: int, total: int, since: Instant) -> Evidence:
    if total == 1:
        return silent(since)
    return Evidence("packets", f"{count} of {total} cameras stopped together.", since.wall_us)


def silent(since: Instant) -> Evidence:
    return Evidence("packets", "No video packets have come since.", since.wall_us)


def again(times: int, first: Instant) -> Evidence:
    often = "once" if times == 1 else "twice" if times == 2 else f"{times} times"
    return Evidence(
        "packets", f"It had ended and came again {often} since {timestamp(first.wall_us)}.", first.wall_us
    )


def knock(seen: HostKnocked) -> Evidence:
    if seen.refuses:
        text = f"{seen.host} is on, and refuses port {seen.port}."
    elif seen.answers:
        text = f"{seen.host} answers at port {seen.port}."
    else:
        text = f"{seen.host} does not answer at port {seen.port}."
    return Evidence("knock", text, seen.at.wall_us)


def no_address(seen: HostKnocked) -> Evidence:
    return Evidence("arp", f"{seen.host} is not found on the local network (ARP).", seen.at.wall_us)


def refused(word: StreamSilent) -> Evidence:
    what = "the password" if word.auth else "the stream"
    return Evidence("stream", f"The device answered and refused {what}.", word.at.wall_us)


def video_loss(hint: DeviceSaid) -> Evidence:
    return Evidence("recorder", "The recorder reports no video at this input.", hint.at.wall_us)


def flat_picture(since: Instant, *, exact: bool) -> Evidence:
    text = "The picture is flat and almost without detail."
    if exact:
        text = "The picture is flat and repeats exactly, apart from its clock."
    return Evidence("picture", text, since.wall_us)


def black_picture(since: Instant, mean: float | None = None) -> Evidence:
    measured = "" if mean is None else f": mean brightness {mean:.0f} of 255"
    return Evidence("picture", f"The picture is black{measured}.", since.wall_us)


def small_packets(since: Instant, size: int, usual: float | None) -> Evidence:
    """`size`, `usual`: mean bytes of the pictures between keyframes."""
    beside = f"; usual here are {usual:.0f}" if usual else ""
    return Evidence("packets", f"Pictures between keyframes take {size} bytes{beside}.", since.wall_us)


def disk(hint: DeviceSaid) -> Evidence:
    return Evidence("recorder", "The recorder reports that its storage has failed.", hint.at.wall_us)


def battery(seen: Battery) -> Evidence:
    return Evidence(
        "mains", f"Mains power is lost; {seen.source} reports battery operation.", seen.since.wall_us
    )


def mains(seen: MainsSeen) -> Evidence:
    return Evidence("mains", f"{_MAINS[seen.mains]} ({seen.source}).", seen.at.wall_us)


def no_carrier(lost: Instant) -> Evidence:
    return Evidence("carrier", "The box's own network port has no link.", lost.wall_us)


def no_router(lost: Instant) -> Evidence:
    return Evidence("gateway", "The router does not answer either.", lost.wall_us)


def link(net: NetSeen) -> tuple[Evidence, ...]:
    """What answers on the way to the command centre, from near to far."""
    asked = (
        ("carrier", "network port", net.carrier),
        ("gateway", "router", net.gateway),
        ("dns", "name service", net.dns),
        ("broker", "command centre", net.broker),
    )
    answers = {True: "answers", False: "does not answer"}
    return tuple(
        no_carrier(net.at)
        if source == "carrier" and up is False
        else Evidence(source, f"The {name} {answers[up]}.", net.at.wall_us)
        for source, name, up in asked
        if up is not None and not (source == "carrier" and up)
    )


def back_after(seconds: float, back: Instant) -> Evidence:
    text = f"The recorder was back after {seconds:.0f} s, and does not tell since when it runs."
    return Evidence("recorder", text, back.wall_us)


def started_anew(clock: DeviceClock) -> Evidence:
    return Evidence(
        "recorder", f"The recorder runs since {timestamp(clock.started_us or 0)}.", clock.at.wall_us
    )


def ran_all_the_while(clock: DeviceClock) -> Evidence:
    started = timestamp(clock.started_us or 0)
    return Evidence("recorder", f"The recorder ran all the while, since {started}.", clock.at.wall_us)


def recorder_clock(clock: DeviceClock, step_s: float) -> Evidence:
    text = f"The recorder's clock moved by {step_s:.0f} s; it is {clock.ahead_s:.0f} s ahead now."
    return Evidence("recorder_clock", text, clock.at.wall_us)


def box_clock(step: ClockStepped) -> Evidence:
    text = f"The box's wall clock moved by {step.step_s:.1f} s against its own running time."
    return Evidence("clock", text, step.at.wall_us)


def ended(start: BoxStarted) -> Evidence:
    return Evidence("box", _ENDINGS[start.ended], start.at.wall_us)


def stood_still(signal: BoxStoodStill) -> Evidence:
    return Evidence("box", f"The box itself did not run for {signal.seconds:.0f} s.", signal.at.wall_us)
