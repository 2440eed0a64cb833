"""Where a recorder is today: at its configured address, or where discovery finds it after a DHCP change."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from edge_agent.capture.wsd import Found
from edge_agent.config import Discovery, Recorder
from edge_agent.errors import DeviceError

ONVIF_PORT = 80


@dataclass(frozen=True, slots=True)
class Place:
    """`port` is ONVIF's; 0: the device was found by its other doors."""

    address: str
    port: int
    mac: str = ""


def locate(recorder: Recorder, discovery: Discovery, stop: Event) -> Place:
    """The configured address, or the one recorder that discovery finds. Blocks, at most about 12 s.

    Raises DeviceError of the step `reachable`, or `configuration` when nothing tells where to look.
    """
    if recorder.address:
        return Place(resolve(recorder.address), recorder.onvif_port or ONVIF_PORT)
    if not discovery.enabled:
        raise DeviceError(
            "configuration",
            f"{recorder.name}: nothing tells where it is: give its address (recorders.address), or allow "
            "looking for it (discovery.enabled = true)",
        )
    found = _discover(discovery, stop, lambda device: _is(device, recorder.endpoint, ""))
    if recorder.endpoint:
        found = [device for device in found if device.epr == recorder.endpoint]
    if not found:
        raise DeviceError(
            "reachable",
            f"{recorder.name}: no recorder answered the discovery; check that it is on and that ONVIF is "
            "enabled in its network menu, or set recorders.address",
        )
    if len(found) > 1:
        addresses = ", ".join(sorted(device.address for device in found))
        raise DeviceError(
            "reachable",
            f"{recorder.name}: {len(found)} devices answered ({addresses}); set recorders.address for each",
        )
    return _place(found[0], recorder)


def moved(recorder: Recorder, mac: str, discovery: Discovery, stop: Event) -> Place | None:
    """The recorder that no longer answers at its address, found again by endpoint reference or MAC."""
    if not (recorder.endpoint or mac) or not discovery.enabled:
        return None
    found = _discover(discovery, stop, lambda device: _is(device, recorder.endpoint, mac))
    return next((_place(device, recorder) for device in found if _is(device, recorder.endpoint, mac)), None)


def resolve(host: str) -> str:
    """A literal address as it is; a name through DNS. Raises DeviceError."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        pass
    try:
        return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise DeviceError("reachable", f"{host}: the name cannot be resolved ({error.strerror})") from error


def _discover(settings: Discovery, stop: Event, enough: Callable[[Found], bool]) -> list[Found]:
    from edge_agent.capture import discovery

    return discovery.discover(settings.interfaces, stop=stop, on_found=enough, sweep=settings.sweep)


def _is(device: Found, endpoint: str, mac: str) -> bool:
    return bool(endpoint and device.epr == endpoint) or bool(mac and device.mac == mac)


def _place(device: Found, recorder: Recorder) -> Place:
    return Place(device.address, recorder.onvif_port or device.port, device.mac)
