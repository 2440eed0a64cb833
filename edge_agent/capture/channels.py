"""From a device's list of profiles to cameras: which belong together, main or sub, and which number (pure).

Never numbered by list position alone: a recorder that exposes inputs 1, 2 and 4 would make input 4
"camera 3", and evidence would come from the wrong camera.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edge_agent.model import Endpoint

MAX_PROFILES = 256
MAX_CHANNELS = 64


@dataclass(frozen=True, slots=True)
class Profile:
    """One media profile as the device lists it; width and height 0 when it does not say (Dahua in H.265)."""

    token: str
    name: str = ""
    source: str = ""  # VideoSourceConfiguration.SourceToken
    width: int = 0
    height: int = 0
    encoding: str = ""
    source_configuration: str = ""  # its token; some events name the source by it


@dataclass(frozen=True, slots=True)
class Pair:
    """One video source with its best and its small profile."""

    source: str
    main: Profile
    sub: Profile | None


@dataclass(frozen=True, slots=True)
class Number:
    value: int
    verified: bool  # False: guessed from list position


@dataclass(frozen=True, slots=True)
class Channel:
    """One camera of a device. `verified` False: its number is a guess that a person should check."""

    number: int
    label: str
    verified: bool
    main: Endpoint | None
    sub: Endpoint | None
    snapshot_url: str
    source_token: str
    source_configuration: str = ""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a device is, whatever its address today."""

    manufacturer: str = ""
    model: str = ""
    serial: str = ""
    mac: str = ""
    epr: str = ""
    address: str = ""  # last resort


def uid(identity: Identity, channel: Channel) -> str:
    """The same for the same camera socket after a DHCP change, a rename or a renumbering.

    Serial number, else MAC, else endpoint reference, else (better than nothing) the address; and the video
    source's token, which stays when someone renames a profile.
    """
    serial = identity.serial.strip()
    if len(set(serial)) > 2 and len(serial) >= 6:  # "0", "123", "000000" are no serial numbers
        device = f"sn:{identity.manufacturer.strip().lower()}:{serial}"
    elif identity.mac:
        device = f"mac:{identity.mac}"
    elif identity.epr:
        device = f"epr:{identity.epr}"
    else:
        device = f"ip:{identity.address}"
    return f"{device}/{channel.source_token or channel.number}"


def pairs(profiles: Sequence[Profile]) -> tuple[Pair, ...]:
    """Group by video source, in the device's order; main and sub by resolution, then by name."""
    groups: dict[str, list[Profile]] = {}
    for profile in profiles[:MAX_PROFILES]:
        groups.setdefault(_source(profile, profiles), []).append(profile)
    return tuple(_pair(source, group) for source, group in [*groups.items()][:MAX_CHANNELS])


def numbers(found: Sequence[Pair], urls: Mapping[str, str]) -> tuple[Number, ...]:
    """A number for each pair: by name, else token, else URL (profile token to stream URL), else position.

    A way of numbering is believed only when it gives every pair a number of its own.
    """
    ways: tuple[Callable[[Pair], int | None], ...] = (
        lambda pair: _from_name(pair.main.name),
        lambda pair: _from_profile_token(pair.main.token),
        lambda pair: _from_url(urls.get(pair.main.token, "")),
    )
    for way in ways:
        given = [n for n in map(way, found) if n is not None]
        if len(given) == len(found) == len(set(given)) and all(1 <= n <= 256 for n in given):
            return tuple(Number(n, True) for n in given)
    return _by_source_token(found) or _by_position(found)


def _source(profile: Profile, profiles: Sequence[Profile]) -> str:
    """The video source. Some XM recorders name one source for all channels; then the names part them."""
    number = _from_name(profile.name) or _from_profile_token(profile.token)
    lumped = len({p.source for p in profiles}) == 1 and len(profiles) > 2
    if profile.source and not (lumped and number):
        return profile.source
    return f"channel-{number}" if number else profile.source or profile.token


def _pair(source: str, group: list[Profile]) -> Pair:
    video = [p for p in group if p.encoding.upper() not in ("JPEG", "MJPEG")] or group
    sized = all(p.width and p.height for p in video)
    ordered = sorted(video, key=lambda p: (-(p.width * p.height) if sized else 0, _rank(p.name), p.token))
    main, rest = ordered[0], ordered[1:]
    # Dahua has a second sub stream; the first one is the usual small picture
    sub = min(rest, key=lambda p: (_rank(p.name), -(p.width * p.height), p.token), default=None)
    return Pair(source, main, sub)


def _rank(name: str) -> int:
    lowered = name.lower()
    if "main" in lowered:
        return 0
    digits = re.search(r"sub\D{0,8}(\d)", lowered)
    return 1 + int(digits[1]) if digits else (2 if "sub" in lowered else 1)


def _from_name(name: str) -> int | None:
    """`MediaProfile_Channel3_MainStream` (Dahua, CP Plus), `Profile_301` (Hikvision, Prama), `CH 3`."""
    found = re.search(r"(?:channel|ch|cam(?:era)?)[ _-]?(\d{1,3})(?!\d)", name, re.IGNORECASE)
    if found:
        return int(found[1]) or None
    return _hundreds(name)


def _from_profile_token(token: str) -> int | None:
    """`MediaProfile00201`: channel 3 (from zero), sub stream; `Profile_302`: channel 3, sub stream."""
    dahua = re.fullmatch(r"MediaProfile(\d{3})(\d{2})", token)
    if dahua:
        return int(dahua[1]) + 1
    return _hundreds(token)


def _hundreds(text: str) -> int | None:
    found = re.fullmatch(r"Profile_(\d{1,3})0[1-9]", text, re.IGNORECASE)
    return int(found[1]) or None if found else None


_URL_NUMBERS = (
    r"[?&/_]channel=(\d{1,3})(?!\d)",
    r"/Streaming/(?:tracks|channels)/(\d{1,3})0\d(?!\d)",
    r"/chID=(\d{1,3})(?!\d)",
    r"/unicast/c(\d{1,3})/",
    r"/h26[45]/ch(\d{1,3})/",
)


def _from_url(url: str) -> int | None:
    for pattern in _URL_NUMBERS:
        found = re.search(pattern, url, re.IGNORECASE)
        if found:
            return int(found[1]) or None
    return None


def _by_source_token(found: Sequence[Pair]) -> tuple[Number, ...]:
    """`VideoSource_1..4`, `VideoSource0..3`, Dahua `00000, 00100`: believed when the base is plain to see."""
    if all(re.fullmatch(r"\d{3}00", pair.source) for pair in found):
        given = [int(pair.source[:3]) for pair in found]
    else:
        digits = [re.search(r"(\d{1,3})$", pair.source) for pair in found]
        given = [int(d[1]) for d in digits if d]
    if len(given) != len(found) or len(set(given)) != len(given) or len(given) < 2:
        return ()
    base = 1 if 0 in given else 0
    return tuple(Number(n + base, min(given) <= 1) for n in given)


def _by_position(found: Sequence[Pair]) -> tuple[Number, ...]:
    only = len(found) == 1  # a camera with one eye cannot be mistaken for another
    return tuple(Number(i, only) for i in range(1, len(found) + 1))
