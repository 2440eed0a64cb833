"""Where in a device's words names, numbers and places stand: the patterns of `bundle_redact`, one a line.

They read malformed XML as well as good XML, because it is the malformed that is worth sending. Every
repetition is bounded. Groups: `before` stays, `text` is replaced.
"""

from __future__ import annotations

import re


def element(names: str) -> re.Pattern[str]:
    """The text of elements with one of these local names."""
    return re.compile(
        rf"(?P<before><(?:[\w.-]{{1,40}}:)?(?:{names})(?:\s[^<>]{{0,300}})?>\s{{0,40}})(?P<text>[^<\s][^<]{{0,499}})",
        re.IGNORECASE,
    )


def parameter(names: str) -> re.Pattern[str]:
    """`name=value` in a query, a path or a header, quoted or not."""
    return re.compile(rf"\b(?P<before>(?:{names})\s?=\s?\"?)(?P<text>[^&\s<>_\"',;]{{1,200}})", re.IGNORECASE)


def quoted(names: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?P<before>(?:{names})\s?=\s?\")(?P<text>[^\"]{{1,500}})", re.IGNORECASE)


def scope(key: str, value: str = r"[^\s<>\"]{1,300}") -> re.Pattern[str]:
    """ONVIF Core, section 7.3.2.2."""
    return re.compile(rf"(?P<before>onvif://www\.onvif\.org/{key}/)(?P<text>{value})", re.IGNORECASE)


SECURITY = re.compile(  # never past the next start: a megabyte of start tags must not take a minute
    r"(?s)<(?P<tag>(?:[\w.-]{1,40}:)?Security)\b[^>]{0,500}>(?:(?!<(?P=tag)\b).){0,8000}?</(?P=tag)\s{0,9}>"
)
USERINFO = re.compile(
    r"(?P<before>\b[a-z][a-z0-9+.-]{1,20}://)(?P<text>[^/\s@:<>\"]{1,200})(?P<colon>:?)(?P<password>[^\s@<>\"]{0,200})@",
    re.IGNORECASE,
)
XM_PATH = re.compile(  # user=admin_password=tlJwpbo6_channel=1 (Xiongmai); a password may hold anything
    r"\b(?P<before>user=)(?P<text>[^&\s<>\"]{0,100}?)(?P<middle>(?:_|&amp;|&)password=)"
    r"(?P<password>[^&\s<>\"]{0,100}?)(?=_channel|[&\s<>\"]|$)",
    re.IGNORECASE,
)
PASSWORD_PARAMETER = parameter("password|passwd|pwd|passphrase|psk")
USER_PARAMETER = parameter("username|user|usr|login")
QUOTED_USER = quoted("username")
PASSWORDS = element("Password|Passwd|Passphrase|PSK|Key")
USERS = element("Username|User")
PROOF = quoted("nonce|cnonce|opaque|response")
REALM = quoted("realm")
REALM_WORD = re.compile(r"(?=[A-Za-z]{0,40}\d)[A-Za-z0-9]{5,64}")

SERIALS = element("SerialNumber|DeviceID")
MODELS = element("Model|Manufacturer")
VERSIONS = element("FirmwareVersion")
SSIDS = element("SSID")
COORDINATES = re.compile(
    r"(?P<before>\b(?:lat|latitude|lon|lng|longitude|elevation)\s?=\s?[\"']|"
    r"<(?:[\w.-]{1,40}:)?(?:lat|latitude|lon|lng|longitude|elevation)>\s{0,9})(?P<text>[-+]?\d[\d.]{0,30})",
    re.IGNORECASE,
)
PLACES = scope("(?:location|geo)")
GIVEN_NAMES = scope("name")
MAC_SCOPE = scope("MAC", r"[0-9A-Fa-f]{12}(?![0-9A-Fa-f])")

UUID = re.compile(r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![0-9A-Fa-f])")
MAC = re.compile(
    r"(?<![0-9A-Fa-f])[0-9A-Fa-f]{2}(?P<sep>[:-])(?:[0-9A-Fa-f]{2}(?P=sep)){4}[0-9A-Fa-f]{2}(?![0-9A-Fa-f])"
)
IPV4 = re.compile(r"(?<![\d.])(?<![\d.][vV])(?<!\b[vV])(?:\d{1,3}\.){3}\d{1,3}(?!\d|\.\d)")
IPV6 = re.compile(r"(?<![\w:.])(?=[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:]{0,39}:)[0-9A-Fa-f:]{3,39}(?![\w:])")
URL_HOST = re.compile(
    r"\b(?P<before>(?:rtsps?|https?)://(?:[^/\s@<>\"]{1,200}@)?)(?P<text>[A-Za-z0-9][A-Za-z0-9.-]{0,200})",
    re.IGNORECASE,
)
NAMESPACE = re.compile(
    r"(?:xmlns(?::[\w.-]{1,40})?|Dialect|schemaLocation)\s?=\s?[\"']https?://(?P<text>[^/\"'\s:]{1,200})"
)
NAMESPACE_TEXT = element(
    "Namespace|Action|TopicNamespaceLocation|MessageContentSchemaLocation|\\w{0,40}Dialect"
)
HOST_OF = re.compile(r"https?://(?P<text>[^/\"'\s:<>]{1,200})", re.IGNORECASE)
EMAIL = re.compile(
    r"(?<![\w.+-])[\w.+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){0,5}\.[A-Za-z]{2,24}\b"
)
SDP_PERSON = re.compile(r"(?m)^(?P<before>[ep]=)(?P<text>[^\s][^\r\n]{0,200})")
