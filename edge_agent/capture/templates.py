"""Cameras of a recorder whose ONVIF is off: by its maker's usual stream URLs, each one asked for.

A URL that the recorder does not know costs nothing; a password is sent only for a maker's URLs, through the
gate, and one refusal ends it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edge_agent.capture import brands, rtsp_ask, sdp, sweep
from edge_agent.capture.brands import BRANDS, Brand
from edge_agent.capture.channels import Channel
from edge_agent.capture.login import CredentialsRefused
from edge_agent.capture.ports import CredentialGate
from edge_agent.errors import DeviceError, FormatError, SourceLost
from edge_agent.model import Credentials, Endpoint

MAX_CHANNELS = 32
MISSING_IN_A_ROW = 4  # inputs 1, 2 and 4 are in use, and nothing after
_NO_SUCH_CHANNEL = 97


def cameras(
    host: str,
    port: int,
    brand: str,
    credentials: Credentials | None,
    gate: CredentialGate,
    wanted: Sequence[int] = (),
) -> tuple[Brand, tuple[Channel, ...]]:
    """The channels that answer DESCRIBE; blocks, about 0.1 s a channel. `brand` is a name, or `auto`.

    Channels that the recorder itself does not deny are marked unverified. Raises DeviceError of the step
    `reachable`, `auth` or `streams`.
    """
    try:
        makes = [BRANDS[brand]] if brand in BRANDS else _likely(host, port)
        for make in makes:
            found = _channels(make, host, port, credentials, gate, wanted)
            if found:
                return make, found
    except CredentialsRefused as error:
        raise DeviceError("auth", f"{host}: {error}") from error
    except SourceLost as error:
        raise DeviceError(
            "reachable", f"{error}; is RTSP switched on in the recorder's network menu?"
        ) from error
    names = ", ".join(make.name for make in makes)
    raise DeviceError(
        "streams",
        f"{host} knows none of the usual stream URLs ({names}); set recorders.brand, or add its cameras by "
        "URL",
    )


def _likely(host: str, port: int) -> list[Brand]:
    """The maker that the RTSP server introduces itself as, else all of them. Raises SourceLost.

    A server with a challenge of its own is not told the password in a URL, where anybody could read it.
    """
    realm, server = sweep.introduction(host, port)
    brand = brands.fingerprint(realm, server)
    return [brand] if brand else [b for b in BRANDS.values() if not (b.tells_password and realm)]


def _channels(
    make: Brand,
    host: str,
    port: int,
    credentials: Credentials | None,
    gate: CredentialGate,
    wanted: Sequence[int],
) -> tuple[Channel, ...]:
    def exists(endpoint: Endpoint) -> bool:
        if make.tells_password:
            reply = rtsp_ask.describe_telling_password(endpoint, gate)
        else:
            reply = rtsp_ask.describe(endpoint.url, host, port, credentials, gate)
        return reply.status == 200 and _shows_video(reply.body)

    def pair(number: int) -> tuple[Endpoint, Endpoint]:
        return brands.endpoints(make, host, port, credentials, number)

    honest = bool(wanted) or not exists(pair(_NO_SUCH_CHANNEL)[0])
    found: list[Channel] = []
    missing = 0
    for number in wanted or _numbers(honest):
        main, sub = pair(number)
        if exists(main):
            missing = 0
            found.append(_channel(number, main, sub if exists(sub) else None, verified=honest))
        else:
            missing += 1
        if not wanted and missing == MISSING_IN_A_ROW:
            break
    return tuple(found)


def _numbers(honest: bool) -> Iterable[int]:
    """A recorder that describes whatever it is asked for is believed about its first channel only."""
    return range(1, MAX_CHANNELS + 1) if honest else (1,)


def _channel(number: int, main: Endpoint, sub: Endpoint | None, *, verified: bool) -> Channel:
    return Channel(
        number=number,
        label=f"Channel {number}",
        verified=verified,
        main=main,
        sub=sub,
        snapshot_url="",
        source_token=f"channel-{number}",
    )


def _shows_video(body: bytes) -> bool:
    try:
        return sdp.parse(body).video() is not None
    except FormatError:
        return False
