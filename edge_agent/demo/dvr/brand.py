"""How Dahua (CP Plus, Amcrest) and Hikvision (Prama) name channels, profiles and streams. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from edge_agent.model import Role


class Brand(StrEnum):
    DAHUA = "dahua"
    HIKVISION = "hikvision"


@dataclass(frozen=True, slots=True)
class StreamName:
    """One stream of one input; inputs count from 1, and some may be missing."""

    channel: int
    role: Role


_DAHUA_PATH = re.compile(r"/cam/realmonitor\?(?:.*&)?channel=(\d{1,3})&subtype=([01])(?!\d)")
_HIKVISION_PATH = re.compile(r"/Streaming/Channels/(\d{1,3})0([12])(?!\d)", re.IGNORECASE)


def manufacturer(brand: Brand) -> str:
    return {Brand.DAHUA: "Dahua", Brand.HIKVISION: "HIKVISION"}[brand]


def model(brand: Brand) -> str:
    return {Brand.DAHUA: "DH-XVR5116HS-VIRTUAL", Brand.HIKVISION: "DS-7216HQHI-VIRTUAL"}[brand]


def realm(brand: Brand, serial: str) -> str:
    return f"Login to {serial}" if brand is Brand.DAHUA else f"IP Camera({serial[-5:]})"


def stream_path(brand: Brand, name: StreamName) -> str:
    if brand is Brand.DAHUA:
        return f"/cam/realmonitor?channel={name.channel}&subtype={_index(name.role)}"
    return f"/Streaming/Channels/{name.channel}0{_index(name.role) + 1}"


def parse_stream_path(brand: Brand, url: str) -> StreamName | None:
    """The stream that an RTSP URL, with or without a track behind it, names."""
    found = (_DAHUA_PATH if brand is Brand.DAHUA else _HIKVISION_PATH).search(url)
    if found is None:
        return None
    index = int(found[2]) - (brand is Brand.HIKVISION)
    return StreamName(int(found[1]), Role.SUB if index else Role.MAIN)


def profile_token(brand: Brand, name: StreamName) -> str:
    if brand is Brand.DAHUA:
        return f"MediaProfile{name.channel - 1:03d}{_index(name.role):02d}"
    return f"ProfileToken{(name.channel - 1) * 2 + _index(name.role) + 1:03d}"


def profile_name(brand: Brand, name: StreamName) -> str:
    if brand is Brand.DAHUA:
        stream = "SubStream1" if name.role is Role.SUB else "MainStream"
        return f"MediaProfile_Channel{name.channel}_{stream}"
    return f"Profile_{name.channel}0{_index(name.role) + 1}"


def source_token(brand: Brand, channel: int) -> str:
    return f"{channel - 1:03d}00" if brand is Brand.DAHUA else f"VideoSource_{channel}"


def _index(role: Role) -> int:
    return 1 if role is Role.SUB else 0
