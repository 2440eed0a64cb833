"""Replies as devices write them: each vendor's profiles, in every manner of writing XML that was met.

Made from what is known of the devices, not recorded.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from edge_agent.capture.channels import Profile

SOAP12, SOAP11 = "http://www.w3.org/2003/05/soap-envelope", "http://schemas.xmlsoap.org/soap/envelope/"
MEDIA, SCHEMA = "http://www.onvif.org/ver10/media/wsdl", "http://www.onvif.org/ver10/schema"


@dataclass(frozen=True)
class Device:
    """A device's profiles and what must come of them: (number, main token, sub token) of each camera."""

    profiles: tuple[Profile, ...]
    cameras: tuple[tuple[int, str, str | None], ...]
    without_video: tuple[str, ...] = ()  # further profiles: metadata, audio or PTZ alone
    urls: Mapping[str, str] = field(default_factory=dict)


def profile(token: str, name: str, source: str, size: str = "", encoding: str = "H264") -> Profile:
    width, _, height = size.partition("x")
    return Profile(
        token, name, source, int(width or 0), int(height or 0), encoding if size else "", f"vsc{source}"
    )


def dahua(channel: int, *, without_encoder: bool = False) -> tuple[Profile, ...]:
    token, source = f"MediaProfile{channel - 1:03d}", f"{channel - 1:03d}00"
    name = f"MediaProfile_Channel{channel}_"
    return (
        profile(f"{token}00", f"{name}MainStream", source, "" if without_encoder else "1920x1080"),
        profile(f"{token}01", f"{name}SubStream1", source, "704x576"),
        profile(f"{token}02", f"{name}SubStream2", source, "352x288"),
    )


DEVICES = {
    "axis": Device(
        (
            profile("profile_1_h264", "profile_1 h264", "0", "1920x1080"),
            profile("profile_1_jpeg", "profile_1 jpeg", "0", "1920x1080", "JPEG"),
        ),
        ((1, "profile_1_h264", None),),
    ),
    "axis, four sensors": Device(
        tuple(profile(f"profile_{n}_h264", f"profile_{n} h264", f"{n}", "1280x720") for n in range(4)),
        tuple((n + 1, f"profile_{n}_h264", None) for n in range(4)),
    ),
    "bosch": Device(
        (
            profile("0", "Encoder1_L1", "1", "1920x1080"),
            profile("1", "Encoder2_L1", "1", "768x432"),
            profile("2", "JPEG_L1", "1", "1920x1080", "JPEG"),
        ),
        ((1, "0", "1"),),
        without_video=("Metadata_L1",),
    ),
    "panasonic": Device(
        (
            profile("def_profile1", "H264_1", "src1", "1280x960"),
            profile("def_profile2", "H264_2", "src1", "320x240"),
            profile("def_profile3", "JPEG_1", "src1", "640x480", "JPEG"),
        ),
        ((1, "def_profile1", "def_profile2"),),
    ),
    "tvt": Device(
        (
            profile("profile_cam1_stream1", "profile_cam1_stream1", "VideoSource_1", "2560x1440", "H265"),
            profile("profile_cam1_stream2", "profile_cam1_stream2", "VideoSource_1", "704x576"),
            profile("profile_cam3_stream1", "profile_cam3_stream1", "VideoSource_3", "2560x1440", "H265"),
            profile("profile_cam3_stream2", "profile_cam3_stream2", "VideoSource_3", "704x576"),
        ),
        (
            (1, "profile_cam1_stream1", "profile_cam1_stream2"),
            (3, "profile_cam3_stream1", "profile_cam3_stream2"),
        ),
    ),
    "xm": Device(
        (profile("000", "mainStream", "000", "1280x720"), profile("001", "subStream", "000", "704x576")),
        ((1, "000", "001"),),
    ),
    "xm, all channels in one source": Device(
        (
            profile("PROFILE_000", "channel1_main", "V_SRC_000", "1280x720"),
            profile("PROFILE_001", "channel1_sub", "V_SRC_000", "352x288"),
            profile("PROFILE_002", "channel2_main", "V_SRC_000", "1280x720"),
            profile("PROFILE_003", "channel2_sub", "V_SRC_000", "352x288"),
        ),
        ((1, "PROFILE_000", "PROFILE_001"), (2, "PROFILE_002", "PROFILE_003")),
    ),
    "reolink": Device(
        (
            profile("000", "Profile_000_MainStream", "000", "2560x1920"),
            profile("001", "Profile_001_SubStream", "000", "640x480"),
        ),
        ((1, "000", "001"),),
    ),
    "uniview": Device(
        (
            profile("media_profile1", "media_profile1", "1", "3840x2160", "H265"),
            profile("media_profile2", "media_profile2", "1", "720x576"),
            profile("media_profile3", "media_profile3", "1", "352x288"),
        ),
        ((1, "media_profile1", "media_profile2"),),
    ),
    "tiandy": Device(
        (
            profile("stream1", "PROFILE_1", "source0", "1920x1080"),
            profile("stream2", "PROFILE_2", "source0", "704x576"),
        ),
        ((1, "stream1", "stream2"),),
    ),
    "imou": Device(dahua(1), ((1, "MediaProfile00000", "MediaProfile00001"),)),
    "dahua, inputs 1, 2 and 4, H.265 without encoder": Device(
        (*dahua(1, without_encoder=True), *dahua(2), *dahua(4)),
        tuple((n, f"MediaProfile{n - 1:03d}00", f"MediaProfile{n - 1:03d}01") for n in (1, 2, 4)),
    ),
    "ezviz": Device(
        (
            profile("Profile_1", "mainStream", "VideoSource_1", "2304x1296"),
            profile("Profile_2", "subStream", "VideoSource_1", "768x432"),
        ),
        ((1, "Profile_1", "Profile_2"),),
    ),
    "hikvision, IP channels behind the analog ones": Device(
        tuple(
            profile(
                f"ProfileToken{n:03d}{s}",
                f"Profile_{n}0{s}",
                f"VideoSource_{n}",
                "1920x1080" if s == 1 else "640x360",
            )
            for n in (1, 2, 33)
            for s in (1, 2)
        ),
        tuple((n, f"ProfileToken{n:03d}1", f"ProfileToken{n:03d}2") for n in (1, 2, 33)),
    ),
    "two sources behind one configuration": Device(
        (
            Profile("left", "left", "VideoSource_1", 1920, 1080, "H264", "vsc"),
            Profile("right", "right", "VideoSource_2", 1920, 1080, "H264", "vsc"),
        ),
        ((1, "left", None), (2, "right", None)),
    ),
}


def get_profiles(device: Device) -> str:
    """The reply's body in the usual prefixes."""
    listed = "".join(map(_profile, device.profiles))
    listed += "".join(_without_video(token) for token in device.without_video)
    return f"<trt:GetProfilesResponse>{listed}</trt:GetProfilesResponse>"


def _profile(each: Profile) -> str:
    encoder = (
        f'<tt:VideoEncoderConfiguration token="enc{each.token}"><tt:Name>enc</tt:Name>'
        f"<tt:Encoding>{each.encoding}</tt:Encoding><tt:Resolution><tt:Width>{each.width}</tt:Width>"
        f"<tt:Height>{each.height}</tt:Height></tt:Resolution></tt:VideoEncoderConfiguration>"
    )
    return (
        f'<trt:Profiles token="{each.token}" fixed="true"><tt:Name>{each.name}</tt:Name>'
        f'<tt:VideoSourceConfiguration token="{each.source_configuration}"><tt:Name>src</tt:Name>'
        f"<tt:SourceToken>{each.source}</tt:SourceToken></tt:VideoSourceConfiguration>"
        f"{encoder if each.encoding else ''}</trt:Profiles>"
    )


def _without_video(token: str) -> str:
    return (
        f'<trt:Profiles token="{token}"><tt:Name>{token}</tt:Name><tt:MetadataConfiguration token="m">'
        "<tt:Name>m</tt:Name></tt:MetadataConfiguration></trt:Profiles>"
    )


def envelope(body: str, soap: str = SOAP12) -> str:
    return (
        f'<s:Envelope xmlns:s="{soap}" xmlns:trt="{MEDIA}" xmlns:tt="{SCHEMA}">'
        f"<s:Header/><s:Body>{body}</s:Body></s:Envelope>"
    )


def renamed(text: str, **prefixes: str) -> str:
    for old, new in prefixes.items():
        text = (
            text.replace(f"<{old}:", f"<{new}:")
            .replace(f"</{old}:", f"</{new}:")
            .replace(f":{old}=", f":{new}=")
        )
    return text


def unprefixed(text: str) -> str:
    """Default namespaces: each of the parts declares its own."""
    text = text.replace(f' xmlns:trt="{MEDIA}" xmlns:tt="{SCHEMA}"', "")
    for part in ("Name", "VideoSourceConfiguration", "VideoEncoderConfiguration", "MetadataConfiguration"):
        text = text.replace(f"<tt:{part}", f'<tt:{part} xmlns="{SCHEMA}"')
    text = text.replace("<trt:GetProfilesResponse", f'<trt:GetProfilesResponse xmlns="{MEDIA}"')
    for prefix in ("tt", "trt"):
        text = text.replace(f"<{prefix}:", "<").replace(f"</{prefix}:", "</")
    return text


def pretty(text: str) -> str:
    return (
        text.replace("><", ">\r\n\t<")
        .replace("<tt:Name>", "<tt:Name>\r\n ")
        .replace("</tt:Name>", " \r\n</tt:Name>")
    )


def _mime(text: str) -> bytes:
    head = "--uuid:7\r\nContent-Type: application/xop+xml\r\nContent-ID: <root@x>\r\n\r\n"
    return f"{head}{text}\r\n--uuid:7--\r\n".encode()


PROLOG = '<?xml version="1.0" encoding="{}"?>\n'
MANNERS: dict[str, Callable[[str], bytes]] = {
    "plain": str.encode,
    "prolog": lambda t: (PROLOG.format("UTF-8") + t).encode(),
    "gsoap prefixes": lambda t: renamed(t, s="SOAP-ENV").replace("xmlns:s=", "xmlns:SOAP-ENV=").encode(),
    "numbered prefixes": lambda t: renamed(t, trt="ns1", tt="ns2").encode(),
    "prefixes never bound": lambda t: t.replace(f' xmlns:tt="{SCHEMA}"', "").encode(),
    "default namespaces": lambda t: unprefixed(t).encode(),
    "soap 1.1": lambda t: t.replace(SOAP12, SOAP11).encode(),
    "utf-8 with mark": lambda t: b"\xef\xbb\xbf" + (PROLOG.format("utf-8") + t).encode(),
    "two marks": lambda t: b"\xef\xbb\xbf\xef\xbb\xbf" + t.encode(),
    "utf-16 with mark": lambda t: (PROLOG.format("utf-16") + t).encode("utf-16"),
    "utf-16 without mark": lambda t: (PROLOG.format("utf-16") + t).encode("utf-16-le"),
    "utf-16 big endian without mark": lambda t: t.encode("utf-16-be"),
    "declared utf-16, is utf-8": lambda t: (PROLOG.format("utf-16") + t).encode(),
    "declared unknown": lambda t: (PROLOG.format("UTF8-ONVIF") + t).encode(),
    "latin-1": lambda t: (PROLOG.format("ISO-8859-1") + t).encode("latin-1"),
    "gb2312": lambda t: (PROLOG.format("GB2312") + t).encode("gb2312"),
    "single quotes": lambda t: t.replace('"', "'").encode(),
    "pretty": lambda t: (PROLOG.format("utf-8") + pretty(t)).encode(),
    "blank lines before": lambda t: b"\r\n\r\n \t" + (PROLOG.format("utf-8") + t).encode(),
    "comments": lambda t: t.replace("<s:Body>", "<!-- v1.2 & older --><s:Body><!-- -->").encode(),
    "processing instruction": lambda t: ("<?xml-stylesheet href='x'?>" + t).encode(),
    "zero bytes behind": lambda t: t.encode() + bytes(16),
    "page end behind": lambda t: t.encode() + b"\r\n</body></html>\r\n",
    "text behind": lambda t: t.encode() + b"\r\nOK & bye\r\n",
    "chunk sizes around": lambda t: b"a5f\r\n" + t.encode() + b"\r\n0\r\n\r\n",
    "mime": _mime,
    "control characters": lambda t: t.replace("</tt:Name>", "\x01\x1b&#3;&#x1F;</tt:Name>").encode(),
    "bare ampersand": lambda t: t.replace(
        "</tt:Name>", "</tt:Name><tt:Url>rtsp://h/?a=1&b=2&nbsp;</tt:Url>"
    ).encode(),
    "bytes that are no utf-8": lambda t: t.encode().replace(
        b"</tt:Name>", b"</tt:Name><tt:Place>\xcd\xa8\xff</tt:Place>"
    ),
    "vendor extensions": lambda t: t.replace(
        "</trt:Profiles>", '<v:X xmlns:v="urn:v" v:a="1"><v:Y/></v:X></trt:Profiles>'
    ).encode(),
}


def http(head: str, body: bytes) -> bytes:
    return head.replace("\n", "\r\n").encode() + b"\r\n\r\n" + body


def chunked(body: bytes, size: int = 700) -> bytes:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%X;x=y\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\nTrailer: 1\r\n\r\n"


HTTP: dict[str, Callable[[bytes], bytes]] = {
    "length": lambda b: http(
        f"HTTP/1.1 200 OK\nContent-Type: application/soap+xml\nContent-Length: {len(b)}", b
    ),
    "http/1.0 without length": lambda b: http("HTTP/1.0 200 OK\nServer: gSOAP/2.7", b),
    "http/1.1 without length": lambda b: http("HTTP/1.1 200 OK\nConnection: close", b),
    "no reason": lambda b: http(f"HTTP/1.1 200\nContent-Length: {len(b)}", b),
    "mixed case": lambda b: http(f"HTTP/1.1 200 OK\ncONTENT-tYPE: text/xml\nCONTENT-LENGTH:{len(b)}", b),
    "chunked": lambda b: http("HTTP/1.1 200 OK\nTransfer-Encoding: Chunked", chunked(b)),
    "gzip unasked": lambda b: http("HTTP/1.1 200 OK\nContent-Encoding: gzip", gzip.compress(b)),
    "gzip, chunked": lambda b: http(
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked\nContent-Encoding: gzip", chunked(gzip.compress(b), 90)
    ),
    "100 continue": lambda b: http(
        "HTTP/1.1 100 Continue", http(f"HTTP/1.1 200 OK\nContent-Length: {len(b)}", b)
    ),
    "length too great": lambda b: http(f"HTTP/1.1 200 OK\nContent-Length: {len(b) + 99}", b),
    "line feeds alone": lambda b: b"HTTP/1.1 200 OK\nContent-Length: %d\n\n" % len(b) + b,
    "folded and empty headers": lambda b: http(
        f"HTTP/1.1 200 OK\nX-Frame-Options:\nX-Long: a\n b\nContent-Length: {len(b)}", b
    ),
    "no content type, a cookie": lambda b: http(
        f"HTTP/1.1 200 OK\nSet-Cookie: a=b; HttpOnly\nContent-Length: {len(b)}", b
    ),
    "keep-alive": lambda b: http(
        f"HTTP/1.1 200 OK\nConnection: keep-alive\nKeep-Alive: timeout=60\nContent-Length: {len(b)}", b
    ),
}
