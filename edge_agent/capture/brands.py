"""What recorders of a brand share: stream paths, and how their RTSP servers introduce themselves (pure).

For devices whose ONVIF is off or unusable. CP Plus is built by Dahua, Prama by Hikvision; Godrej is unknown
and goes by its fingerprint.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from edge_agent.capture import addresses
from edge_agent.model import Credentials, Endpoint

_XM_PASSWORD = re.compile(r"[^A-Za-z0-9._~-]")


@dataclass(frozen=True, slots=True)
class Brand:
    """`main` and `sub` take {n}, the channel from 1; XM wants {user} and {password} in the path."""

    name: str
    main: str
    sub: str
    realm: re.Pattern[str]
    onvif_port: int = 80

    @property
    def tells_password(self) -> bool:
        """Each URL is an attempt to log in."""
        return "{password}" in self.main


BRANDS = {
    brand.name: brand
    for brand in (
        Brand(
            "dahua",
            "/cam/realmonitor?channel={n}&subtype=0",
            "/cam/realmonitor?channel={n}&subtype=1",
            re.compile(r"^Login to |Dahua", re.IGNORECASE),
        ),
        Brand(
            "hikvision",
            "/Streaming/Channels/{n}01",
            "/Streaming/Channels/{n}02",
            re.compile(r"^IP Camera\(|^DS-|Hikvision|^Embedded Net DVR", re.IGNORECASE),
        ),
        Brand(
            "tvt",
            "/chID={n}&streamType=main",
            "/chID={n}&streamType=sub",
            re.compile(r"^RTSP SERVER$|TVT", re.IGNORECASE),
        ),
        Brand(
            "xm",
            "/user={user}_password={password}_channel={n}_stream=0.sdp?real_stream",
            "/user={user}_password={password}_channel={n}_stream=1.sdp?real_stream",
            re.compile(r"H264DVR|XMEye|Xiongmai", re.IGNORECASE),
            onvif_port=8899,
        ),
        Brand("uniview", "/unicast/c{n}/s0/live", "/unicast/c{n}/s1/live", re.compile(r"Uniview|^UNV", re.I)),
    )
}


# The makers' own protocols, open even where RTSP and ONVIF are off.
BY_PORT = {34567: "xm", 37777: "dahua"}


def fingerprint(realm: str, server: str = "") -> Brand | None:
    """The brand whose answer to an unauthenticated DESCRIBE has this realm or `Server` header."""
    return next((b for b in BRANDS.values() if b.realm.search(realm) or b.realm.search(server)), None)


def endpoints(
    brand: Brand, host: str, port: int, credentials: Credentials | None, channel: int
) -> tuple[Endpoint, Endpoint]:
    """Main and sub stream of `channel` (from 1) by the brand's template; nothing is verified."""
    return (
        Endpoint(_url(brand.main, host, port, credentials, channel), host, port, credentials),
        Endpoint(_url(brand.sub, host, port, credentials, channel), host, port, credentials),
    )


def _url(template: str, host: str, port: int, credentials: Credentials | None, channel: int) -> str:
    user, password = (credentials.username, credentials.password) if credentials else ("", "")
    rest = template.format(n=channel, user=_quoted(user), password=_quoted(password))
    return addresses.url("rtsp", host, port, rest)


def _quoted(text: str) -> str:
    return _XM_PASSWORD.sub(lambda c: "".join(f"%{b:02X}" for b in c[0].encode()), text)
