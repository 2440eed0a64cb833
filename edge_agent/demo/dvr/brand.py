"""How makers name channels, profiles and streams. No I/O.

Dahua (CP Plus, Amcrest) and Hikvision (Prama) as they were recorded; TVT, XM (XMEye) and Uniview by what is
published of their URLs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from urllib.parse import quote

from edge_agent.model import Role


class Brand(StrEnum):
    DAHUA = "dahua"
    HIKVISION = "hikvision"
    TVT = "tvt"
    XM = "xm"
    UNIVIEW = "uniview"


@dataclass(frozen=True, slots=True)
class StreamName:
    """One stream of one input; inputs count from 1, and some may be missing."""

    channel: int
    role: Role


@dataclass(frozen=True, slots=True)
class _Names:
    """Templates: `n` channel from 1, `z` from 0, `s` stream from 0, `t` from 1, `p` profile from 1, counted
    through; `word` its role; `user` and `password` for URLs that carry them.
    """

    maker: str
    model: str
    realm: str
    path: str
    pattern: re.Pattern[str]  # channel, then the stream as it stands in the path
    token: str
    profile: str
    source: str
    words: tuple[str, str] = ("main", "sub")
    streams: tuple[str, str] = ("0", "1")  # how the path says main and sub


_NAMES = {
    Brand.DAHUA: _Names(
        "Dahua",
        "DH-XVR5116HS-VIRTUAL",
        "Login to {serial}",
        "/cam/realmonitor?channel={n}&subtype={s}",
        re.compile(r"/cam/realmonitor\?(?:.*&)?channel=(\d{1,3})&subtype=([01])(?!\d)"),
        "MediaProfile{z:03d}{s:02d}",
        "MediaProfile_Channel{n}_{word}",
        "{z:03d}00",
        words=("MainStream", "SubStream1"),
    ),
    Brand.HIKVISION: _Names(
        "HIKVISION",
        "DS-7216HQHI-VIRTUAL",
        "IP Camera({tail})",
        "/Streaming/Channels/{n}0{t}",
        re.compile(r"/Streaming/Channels/(\d{1,3})0([12])(?!\d)", re.IGNORECASE),
        "ProfileToken{p:03d}",
        "Profile_{n}0{t}",
        "VideoSource_{n}",
        streams=("1", "2"),
    ),
    Brand.TVT: _Names(
        "TVT",
        "TD-2116TS-VIRTUAL",
        "RTSP SERVER",
        "/chID={n}&streamType={word}",
        re.compile(r"/chID=(\d{1,3})&streamType=(main|sub)"),
        "profile_cam{n}_stream{t}",
        "profile_cam{n}_stream{t}",
        "VideoSource_{n}",
        streams=("main", "sub"),
    ),
    Brand.XM: _Names(
        "H264",
        "HVR-6216-VIRTUAL",
        "H264DVR",
        "/user={user}_password={password}_channel={n}_stream={s}.sdp?real_stream",
        re.compile(r"/user=.*_channel=(\d{1,3})_stream=([01])\.sdp"),
        "PROFILE_{p:03d}",
        "channel{n}_{word}",
        "V_SRC_{z:03d}",
    ),
    Brand.UNIVIEW: _Names(
        "Uniview",
        "XVR301-16-VIRTUAL",
        "Uniview",
        "/unicast/c{n}/s{s}/live",
        re.compile(r"/unicast/c(\d{1,3})/s([01])/live"),
        "media_profile{p}",
        "channel{n}_{word}",
        "VideoSource_{n}",
    ),
}
_XM_ACCOUNT = re.compile(r"/user=(?P<user>.*?)_password=(?P<password>.*?)_channel=")


def manufacturer(brand: Brand) -> str:
    return _NAMES[brand].maker


def model(brand: Brand) -> str:
    return _NAMES[brand].model


def realm(brand: Brand, serial: str) -> str:
    return _NAMES[brand].realm.format(serial=serial, tail=serial[-5:])


def stream_path(brand: Brand, name: StreamName, user: str = "", password: str = "") -> str:
    """XM has the account in it."""
    return _filled(
        brand, _NAMES[brand].path, name, user=quote(user, safe=""), password=quote(password, safe="")
    )


def parse_stream_path(brand: Brand, url: str) -> StreamName | None:
    """The stream that an RTSP URL, with or without a track behind it, names."""
    found = _NAMES[brand].pattern.search(url)
    if found is None:
        return None
    return StreamName(int(found[1]), Role.SUB if _NAMES[brand].streams.index(found[2]) else Role.MAIN)


def account_in(brand: Brand, url: str) -> tuple[str, str] | None:
    """User and password as they stand in an XM URL, still encoded; None for the makers that use Digest."""
    found = _XM_ACCOUNT.search(url) if brand is Brand.XM else None
    return (found["user"], found["password"]) if found else None


def profile_token(brand: Brand, name: StreamName) -> str:
    return _filled(brand, _NAMES[brand].token, name)


def profile_name(brand: Brand, name: StreamName) -> str:
    return _filled(brand, _NAMES[brand].profile, name)


def source_token(brand: Brand, channel: int) -> str:
    return _filled(brand, _NAMES[brand].source, StreamName(channel, Role.MAIN))


def _filled(brand: Brand, template: str, name: StreamName, **account: str) -> str:
    n, s = name.channel, int(name.role is Role.SUB)
    word = _NAMES[brand].words[s]
    return template.format(n=n, z=n - 1, s=s, t=s + 1, p=(n - 1) * 2 + s + 1, word=word, **account)
