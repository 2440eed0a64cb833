"""A bundle: what one device answered, fit to be sent away and played back (format in docs/design/bundle.md).

One zip file: `manifest.json` and the members that it names. Pure: bytes in, bytes out; no sockets, no files.
Bundles come from strangers: every size is capped before anything is read.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import TypeAdapter, ValidationError

from edge_agent.errors import FormatError

FORMAT = 1
MANIFEST = "manifest.json"
READ_ME = "READ ME FIRST.txt"
MAX_MEMBERS = 4000
MAX_MEMBER = 2 << 20
MAX_BUNDLE = 64 << 20
_LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the same content gives the same bytes

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that was tried; `sentence` is for people, also when it failed."""

    name: str
    passed: bool
    sentence: str
    took_ms: int = 0


@dataclass(frozen=True, slots=True)
class WebExchange:
    """One SOAP question and what came back. `status` 0: nothing came, `note` says why.

    `login` is how it was asked: `none`, `token` (WS-UsernameToken) or `digest`. `arguments` are those that
    change the answer, such as the ProfileToken. `body` names a member, empty when there was none.
    """

    operation: str
    namespace: str
    arguments: Pairs = ()
    port: int = 80
    path: str = ""
    login: str = "none"
    status: int = 200
    headers: Pairs = ()
    body: str = ""
    took_ms: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class RtspExchange:
    """One RTSP request and its reply; header names as the device wrote them. `status` 0: no reply came."""

    method: str
    url: str
    login: str = "none"
    status: int = 200
    reason: str = ""
    headers: Pairs = ()
    body: str = ""
    took_ms: int = 0
    note: str = ""

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")


@dataclass(frozen=True, slots=True)
class StreamTape:
    """One stream: who it is, what was said about it, and the member with its packets' shape, if any came."""

    url: str
    channel: int = 0  # 0: not known
    role: str = "main"
    profile: str = ""
    dialogue: tuple[RtspExchange, ...] = ()
    shape: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the device says of itself; `clock_offset_s` is its clock minus ours, None when it tells none."""

    manufacturer: str = ""
    model: str = ""
    firmware: str = ""
    clock_offset_s: float | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """`address` is where the device was reached: after redaction always the first documentation address."""

    tool: str
    taken: str  # UTC, to the minute
    address: str
    http_port: int
    rtsp_port: int
    format: int = FORMAT
    with_password: bool = False
    facts: Facts = Facts()
    steps: tuple[Step, ...] = ()
    discovery: tuple[str, ...] = ()  # members: ProbeMatches datagrams
    web: tuple[WebExchange, ...] = ()
    streams: tuple[StreamTape, ...] = ()
    redacted: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Bundle:
    manifest: Manifest
    files: Mapping[str, bytes] = field(default_factory=dict)

    def body(self, member: str) -> bytes:
        return self.files.get(member, b"") if member else b""


_MANIFEST = TypeAdapter(Manifest)


def manifest_json(manifest: Manifest) -> bytes:
    return _MANIFEST.dump_json(manifest, indent=1)


def pack(bundle: Bundle) -> bytes:
    """The zip file. The READ ME comes first, so that whoever opens it sees it first."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        members = {MANIFEST: manifest_json(bundle.manifest), **bundle.files}
        for name in sorted(members, key=lambda name: (name != READ_ME, name != MANIFEST, name)):
            entry = zipfile.ZipInfo(name, _LONG_AGO)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, members[name])
    return held.getvalue()


def unpack(packed: bytes) -> Bundle:
    """Raises FormatError for whatever is not a bundle of this format, or is larger than one may be."""
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            files = _members(archive)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise FormatError(f"not a bundle, or a damaged one: {error}") from error
    if MANIFEST not in files:
        raise FormatError(f"not a bundle: {MANIFEST} is missing")
    manifest = read_manifest(files.pop(MANIFEST))
    return Bundle(manifest, files)


def read_manifest(text: bytes) -> Manifest:
    """Raises FormatError."""
    try:
        manifest = _MANIFEST.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise FormatError(f"{MANIFEST}: {where}: {first['msg']}") from error
    if manifest.format != FORMAT:
        raise FormatError(f"a bundle of format {manifest.format}; this version reads format {FORMAT}")
    return manifest


def _members(archive: zipfile.ZipFile) -> dict[str, bytes]:
    entries = archive.infolist()
    if len(entries) > MAX_MEMBERS or sum(entry.file_size for entry in entries) > MAX_BUNDLE:
        raise FormatError(f"a bundle of more than {MAX_MEMBERS} members or {MAX_BUNDLE >> 20} MB")
    files = {}
    for entry in entries:
        with archive.open(entry) as member:
            files[entry.filename] = member.read(MAX_MEMBER + 1)
        if len(files[entry.filename]) > MAX_MEMBER:
            raise FormatError(f"{entry.filename[:80]!r} is larger than {MAX_MEMBER >> 20} MB")
    return files
