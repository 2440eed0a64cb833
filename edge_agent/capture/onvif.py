"""The adapter around onvif-zeep: zeep writes the requests from ONVIF's WSDL, `soap` reads the replies.

Importing this module loads onvif-zeep, zeep and requests (0.3 s, 40 MB); only `device.probe` does it.
Each thing done differently from the library has its reason in docs/design/onvif.md.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import logging
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

import zeep
from lxml import etree
from zeep.wsdl import Document

from edge_agent.capture import addresses, soap
from edge_agent.capture.session import Session
from edge_agent.errors import DeviceError, EdgeAgentError

SETTINGS = zeep.Settings(strict=False, raw_response=True, forbid_external=True, forbid_dtd=True)
_LOADING = RLock()


def _import_quietly() -> ModuleType:
    """onvif-zeep calls `logging.basicConfig` when imported; a handler in place makes that do nothing."""
    root, guard = logging.getLogger(), logging.NullHandler()
    root.addHandler(guard)
    try:
        return importlib.import_module("onvif")
    finally:
        root.removeHandler(guard)


_library = _import_quietly()
_Camera: type = _library.ONVIFCamera
_Client: type = zeep.Client


def wsdl_directory() -> Path:
    """Where onvif-zeep's WSDL files really are. Raises DeviceError naming the places looked at.

    Its wheel carries the build machine's Python version in their path, so a wheel built on 3.11 and installed
    on 3.13, a `--target` install or a Debian package has them elsewhere than the library looks.
    """
    looked = list(dict.fromkeys(_candidates()))
    for directory in looked:
        if (directory / "devicemgmt.wsdl").is_file() and (directory / "media.wsdl").is_file():
            return directory
    places = ", ".join(str(p) for p in looked[:6])
    raise DeviceError(
        "services",
        f"the WSDL files of onvif-zeep are missing (looked in {places}); reinstall the agent's environment. "
        "Cameras configured by URL are recorded all the same.",
    )


class OnvifDevice(_Camera):  # type: ignore[misc]
    """One device through onvif-zeep: shared WSDL documents, our own wire, no pull point, no side effects."""

    def __init__(self, session: Session) -> None:
        # ONVIFCamera.__init__ is not called: it deletes http_proxy from the environment of the whole process,
        # asks the clock with a badly timed token and opens a pull point that it never closes.
        self._session = session
        self._wire = _Wire(session)
        self.host, self.port = session.host, session.port
        self.wsdl_dir = str(wsdl_directory())
        self.services: dict[str, object] = {}
        self.services_lock = RLock()
        self.xaddrs: dict[str, str] = {}
        self.dt_diff = None

    def learn(self, services: Mapping[str, str]) -> None:
        """Namespace to XAddr, already rewritten to the reached host."""
        self.xaddrs.update(services)

    def update_xaddrs(self) -> None:
        """The library asks GetCapabilities and opens a pull point here; `device` asks, and calls `learn`."""

    def create_onvif_service(
        self, name: str, from_template: bool = True, portType: str | None = None
    ) -> object:
        """As the library does it, but around the one shared document, and without its token."""
        address, wsdl_file, binding = self.get_definition(name, portType)
        client = _Client(wsdl=_document(wsdl_file), transport=self._wire, settings=SETTINGS)
        service = _library.ONVIFService(address, "", "", wsdl_file, zeep_client=client, binding_name=binding)
        with self.services_lock:
            self.services[name] = service
        return service

    def call(self, service: str, operation: str, **arguments: object) -> soap.Element:
        """One operation of `devicemgmt` or `media`; returns the reply's element.

        Raises what Session.call raises, and DeviceError when the request cannot even be written.
        """
        try:
            with self.services_lock:
                proxy = self.services.get(service) or self.create_onvif_service(service)
            return getattr(proxy, operation)(arguments)  # type: ignore[no-any-return]
        except _library.ONVIFError as error:
            # ONVIFError hides what happened; the error raised on our wire is its context
            if isinstance(error.__context__, EdgeAgentError):
                raise error.__context__ from None
            raise DeviceError("services", f"{self.host}: {operation} cannot be asked: {error}") from error


class _Wire:
    """zeep's transport: serialises, hands to the session. Never loads anything from the network."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def post_xml(self, address: str, envelope: etree._Element, headers: Mapping[str, str]) -> soap.Element:
        where = urlsplit(address)
        return self._session.call(where.path or "/", envelope, port=where.port)


class _Files:
    """zeep's loader for WSDL and XSD files: local paths only."""

    def load(self, url: str) -> bytes:
        if "://" in url:
            raise FileNotFoundError(f"{url} is not loaded: WSDLs come with the package")
        return Path(url).read_bytes()


def _document(path: str) -> Document:
    """One parsed document a service for the whole process: 10 MB and 0.15 s a camera otherwise."""
    with _LOADING:
        return _load_document(path)


@lru_cache(maxsize=8)
def _load_document(path: str) -> Document:
    loader: Any = _Files()  # zeep wants its Transport, and calls only `load`
    return Document(path, loader, settings=SETTINGS)


def _candidates() -> Iterator[Path]:
    beside = Path(str(_library.__file__)).resolve().parents[1]
    yield beside / "wsdl"
    for file in importlib.metadata.files("onvif-zeep") or ():
        if file.name == "devicemgmt.wsdl":
            yield Path(str(file.locate())).resolve().parent
    yield Path(sysconfig.get_path("purelib")) / "wsdl"
    for root in (beside, beside.parents[2] if len(beside.parents) > 2 else beside, Path(sys.prefix)):
        yield from (p.parent for p in sorted(root.glob("lib/python3*/*-packages/wsdl/devicemgmt.wsdl")))


def service_xaddrs(answer: soap.Element) -> dict[str, addresses.Claim]:
    """Namespace to claimed address, from a GetServices or a GetCapabilities reply (ONVIF Core, section 8)."""
    found: dict[str, addresses.Claim] = {}
    for entry in soap.each(answer, "Service"):
        claim = addresses.service(soap.text(entry, "XAddr"))
        if claim:
            found[soap.text(entry, "Namespace")] = claim
    capabilities = soap.find(answer, "Capabilities")
    for entry in soap.elements(capabilities) if capabilities is not None else ():
        namespace = _CAPABILITY_NAMESPACES.get(soap.local(entry))
        claim = addresses.service(soap.text(entry, "XAddr"))
        if namespace and claim:
            found[namespace] = claim
    return found


DEVICE = "http://www.onvif.org/ver10/device/wsdl"
MEDIA = "http://www.onvif.org/ver10/media/wsdl"
MEDIA2 = "http://www.onvif.org/ver20/media/wsdl"
EVENTS = "http://www.onvif.org/ver10/events/wsdl"
_CAPABILITY_NAMESPACES = {"Device": DEVICE, "Media": MEDIA, "Events": EVENTS}
