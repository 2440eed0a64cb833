"""The session description of a DVR (RFC 8866), read as leniently as DVRs write it."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

from edge_agent.errors import FormatError

LARGEST = 64 * 1024
_MOST_LINES = 2000
_MOST_MEDIA = 64
_SPROPS = ("sprop-vps", "sprop-sps", "sprop-pps", "sprop-parameter-sets")
_STATIC = {26: "JPEG", 31: "H261", 32: "MPV", 34: "H263"}  # RFC 3551 table 5: no rtpmap is needed
_ENCODINGS = {"H264": "H264", "H.264": "H264", "AVC": "H264", "H265": "H265", "H.265": "H265", "HEVC": "H265"}


@dataclass(frozen=True, slots=True)
class Media:
    """One `m=` section. `encoding` is upper case, empty when no rtpmap names it."""

    kind: str
    payload_type: int
    encoding: str = ""
    clock_rate: int = 90_000
    control: str = ""
    framerate: float | None = None
    format: dict[str, str] = field(default_factory=dict)

    def parameter_sets(self) -> list[bytes]:
        """What the sprop attributes hold; entries that are not base64 are passed over (retina #42)."""
        found = []
        for name in _SPROPS:
            for text in self.format.get(name, "").split(","):
                try:
                    nal = base64.b64decode(text.strip() + "=" * (-len(text.strip()) % 4), validate=True)
                except (binascii.Error, ValueError):
                    continue
                if nal:
                    found.append(nal)
        return found

    def has_don(self) -> bool:
        """H.265 decoding order numbers stand in the payloads (RFC 7798 section 7.1)."""
        return self.format.get("sprop-max-don-diff", "0").strip() not in ("", "0")


@dataclass(frozen=True, slots=True)
class Description:
    control: str
    media: tuple[Media, ...]

    def video(self) -> Media | None:
        """The first video that we can record; Dahua and others list audio and metadata around it."""
        return next((m for m in self.media if m.kind == "video" and m.encoding in ("H264", "H265")), None)


@dataclass(slots=True)
class _Section:
    kind: str = ""
    payload_type: int = -1
    attributes: dict[str, str] = field(default_factory=dict)
    rtpmaps: dict[str, str] = field(default_factory=dict)
    fmtps: dict[str, str] = field(default_factory=dict)

    def of_format(self, lines: dict[str, str]) -> str:
        """What stands behind our payload type, or behind the only one that is described at all."""
        only = next(iter(lines.values())) if len(lines) == 1 else ""
        return lines.get(str(self.payload_type), only)


def parse(text: bytes) -> Description:
    """Read an SDP. Raises FormatError when it is none; unknown lines are passed over."""
    if len(text) > LARGEST:
        raise FormatError(f"SDP of {len(text)} bytes is too large")
    sections = [_Section()]
    lines = [line.strip() for line in text.decode("utf-8", "replace").lstrip("\ufeff").splitlines()]
    if not any(line.startswith(("v=", "m=")) for line in lines):
        raise FormatError("the answer to DESCRIBE is no SDP")
    for line in lines[:_MOST_LINES]:
        if line.lower().startswith("m="):
            if len(sections) > _MOST_MEDIA:
                raise FormatError("SDP lists too many media")
            sections.append(_open_section(line[2:]))
        elif line.lower().startswith("a="):
            _note_attribute(sections[-1], line[2:].strip())
    return Description(sections[0].attributes.get("control", ""), tuple(map(_media, sections[1:])))


def _open_section(text: str) -> _Section:
    """`video 0 RTP/AVP 96 97`: the first format counts."""
    words = text.split()
    payload_type = int(words[3]) if len(words) > 3 and words[3].isascii() and words[3].isdigit() else -1
    return _Section(words[0].lower() if words else "", payload_type)


def _note_attribute(section: _Section, text: str) -> None:
    name, _, value = text.partition(":")
    name = name.strip().lower()
    if name in ("rtpmap", "fmtp"):
        payload_type, rest = (*value.split(None, 1), "", "")[:2]
        lines = section.rtpmaps if name == "rtpmap" else section.fmtps
        before = lines.get(payload_type, "")
        lines[payload_type] = f"{before};{rest}" if before and name == "fmtp" else rest  # one a parameter
    elif name == "framerate":
        section.attributes[name] = value  # H264DVR sends "0S" first, the number after
    else:
        section.attributes.setdefault(name, value.strip())


def _media(section: _Section) -> Media:
    encoding, _, rest = section.of_format(section.rtpmaps).partition("/")
    fmtp = section.of_format(section.fmtps)
    rate = rest.partition("/")[0].strip()
    return Media(
        kind=section.kind,
        payload_type=section.payload_type,
        encoding=_encoding(encoding.strip().upper(), fmtp, section.payload_type),
        clock_rate=int(rate)
        if rate.isascii() and rate.isdigit() and 0 < len(rate) < 8 and int(rate)
        else 90_000,
        control=section.attributes.get("control", ""),
        framerate=_framerate(section.attributes.get("framerate", "")),
        format=_format(fmtp),
    )


def _encoding(name: str, fmtp: str, payload_type: int) -> str:
    """Without an rtpmap the kind of parameter sets betrays the codec, or the number alone."""
    if name:
        return _ENCODINGS.get(name, name)
    if "sprop-parameter-sets" in fmtp:
        return "H264"
    return "H265" if "sprop-vps" in fmtp else _STATIC.get(payload_type, "")


def _framerate(text: str) -> float | None:
    try:
        rate = float(text)
    except ValueError:
        return None
    return rate if 0.1 <= rate <= 240 else None


def _format(fmtp: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in fmtp.split(";"))
    return {name.strip().lower(): value.strip() for name, _, value in pairs if name.strip()}
