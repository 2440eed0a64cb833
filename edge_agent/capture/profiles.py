"""Reading GetProfiles replies, of ONVIF Media (ver10) and Media2 (ver20)."""

from __future__ import annotations

from edge_agent.capture import soap
from edge_agent.capture.channels import MAX_PROFILES, Profile


def profiles_in(answer: soap.Element) -> list[Profile]:
    """The profiles of a GetProfiles reply, of Media or Media2, in the device's order; at most 256.

    Those without a token cannot be asked for. Those without any video (audio, metadata or PTZ alone: Bosch,
    Axis) are left out, unless the device names no configuration at all.
    """
    entries = [*soap.each(answer, "Profiles"), *soap.each(answer, "Profile")][:MAX_PROFILES]
    named = [p for p in map(_profile, entries) if p.token]
    return [p for p in named if _shows_video(p)] or named


def _profile(entry: soap.Element) -> Profile:
    """Media 1 nests the configurations in the profile, Media 2 in its `Configurations`, named shorter."""
    second = soap.find(entry, "Configurations")
    inside = entry if second is None else second
    source = soap.find(inside, "VideoSourceConfiguration" if second is None else "VideoSource")
    encoder = soap.find(inside, "VideoEncoderConfiguration" if second is None else "VideoEncoder")
    return Profile(
        token=soap.attribute(entry, "token"),
        name=clean(soap.text(entry, "Name")),
        source=clean(soap.text(source, "SourceToken")) if source is not None else "",
        width=_number(soap.text(encoder, "Resolution", "Width")) if encoder is not None else 0,
        height=_number(soap.text(encoder, "Resolution", "Height")) if encoder is not None else 0,
        encoding=clean(soap.text(encoder, "Encoding")) if encoder is not None else "",
        source_configuration=clean(soap.attribute(source, "token")) if source is not None else "",
    )


def _shows_video(profile: Profile) -> bool:
    return bool(profile.source or profile.source_configuration or profile.encoding or profile.width)


def clean(text: str) -> str:
    """A device's text made fit for one line: printable, at most 100 characters."""
    return "".join(c for c in text if c.isprintable())[:100].strip()


def _number(text: str) -> int:
    text = text.removesuffix(".0")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 6 else 0
