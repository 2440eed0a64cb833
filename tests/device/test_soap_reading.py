"""Every recorded reply is understood or refused; nothing that a device sends escapes as another error."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.capture import channels, onvif, soap
from edge_agent.capture.device_clock import read_clock
from edge_agent.capture.profiles import profiles_in
from edge_agent.capture.web import MAX_BODY
from edge_agent.errors import EdgeAgentError, FormatError

SHARED = Path(__file__).resolve().parents[3] / "shared" / "onvif-captures"
CAPTURES = sorted(p for p in SHARED.rglob("*") if p.suffix in (".xml", ".html")) if SHARED.is_dir() else []
ENVELOPE = '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body>{}</s:Body></s:Envelope>'


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_a_recorded_reply_is_understood_or_clearly_refused(capture: Path) -> None:
    body = capture.read_bytes()

    if capture.suffix == ".html":
        with pytest.raises(FormatError, match="not"):
            soap.reply(body)
    elif "Fault" in capture.stem:
        with pytest.raises(soap.SoapFault) as refused:
            soap.reply(body)
        assert refused.value.fault.subcodes
    else:
        assert soap.local(soap.reply(body)).endswith(("Response", "Matches"))


@pytest.mark.parametrize(
    "capture", [p for p in CAPTURES if p.stem == "GetProfiles"], ids=lambda p: p.parent.name
)
def test_recorded_profiles_become_a_main_and_a_sub_stream(capture: Path) -> None:
    profiles = profiles_in(soap.reply(capture.read_bytes()))
    pairs = channels.pairs(profiles)

    assert len(pairs) == 1
    assert pairs[0].sub is not None
    assert pairs[0].main.width > pairs[0].sub.width > 0
    assert channels.numbers(pairs, {}) == (channels.Number(1, True),)


@pytest.mark.parametrize("capture", [p for p in CAPTURES if p.stem in ("GetServices", "GetCapabilities")])
def test_recorded_services_name_the_media_service(capture: Path) -> None:
    claims = onvif.service_xaddrs(soap.reply(capture.read_bytes()))

    assert onvif.MEDIA in claims
    assert claims[onvif.MEDIA].rest.startswith("/")


def test_wrong_credentials_are_told_from_other_faults(shared: Path) -> None:
    folder = shared / "onvif-captures"
    with pytest.raises(soap.SoapFault) as refused:
        soap.reply((folder / "hikvision-ds2cd2387/CreatePullPoint-Fault-NotAuthorized.xml").read_bytes())
    with pytest.raises(soap.SoapFault) as blocked:
        soap.reply((folder / "dahua-sd4a425db/Create-Fault-BlockedThreadUpperLimit.xml").read_bytes())

    assert refused.value.fault.not_authorized
    assert not blocked.value.fault.not_authorized
    assert "BlockedThreadUpperLimit" in str(blocked.value)


def test_an_unbound_prefix_is_forgiven() -> None:
    answer = soap.reply(
        ENVELOPE.format("<GetServicesResponse><tad:A>1</tad:A></GetServicesResponse>").encode()
    )

    assert soap.text(answer, "A") == "1"


def test_a_prolog_that_lies_about_its_encoding_is_forgiven() -> None:
    text = '<?xml version="1.0" encoding="utf-16"?>' + ENVELOPE.format("<R><Name>Kasse</Name></R>")

    assert soap.text(soap.reply(text.encode()), "Name") == "Kasse"
    assert soap.text(soap.reply(text.encode("utf-16")), "Name") == "Kasse"


def test_chinese_names_survive() -> None:
    text = '<?xml version="1.0" encoding="GB2312"?>' + ENVELOPE.format("<R><Name>通道</Name></R>")

    assert soap.text(soap.reply(text.encode("gb2312")), "Name") == "通道"


@pytest.mark.parametrize(
    "hostile",
    [
        '<!DOCTYPE a [<!ENTITY b "c">]>' + ENVELOPE.format("<R>&b;</R>"),
        '<!DOCTYPE a SYSTEM "http://127.0.0.1:1/x">' + ENVELOPE.format("<R/>"),
        ENVELOPE.format("<a>" * 100 + "</a>" * 100),
        ENVELOPE.format("<a>" * 100_000 + "</a>" * 100_000),
        ENVELOPE.format("<a/>" * 60_000),
        ENVELOPE.format("<R>" + "x" * MAX_BODY + "</R>"),
        ENVELOPE.format("<R><Profiles/>")[:-30],
        ENVELOPE.format(""),
        "<html><body>404</body></html>",
        "",
        "\x00",
    ],
    ids=["entity", "external", "deep", "deepest", "wide", "large", "cut", "empty", "html", "nothing", "nul"],
)
def test_hostile_xml_is_refused_quickly(hostile: str) -> None:
    began = time.monotonic()

    with pytest.raises(FormatError):
        soap.reply(hostile.encode())

    assert time.monotonic() - began < 5


FRAGMENTS = st.sampled_from(
    ["<", ">", "/", "a", "s:Body", "s:Fault", "Code", "Subcode", "&lt;", "&#0;", "<![CDATA[", "]]>", '"', "="]
)


@given(st.lists(FRAGMENTS, max_size=30).map("".join) | st.text(max_size=200))
@settings(max_examples=400, deadline=None)
def test_only_our_own_errors_leave_the_reader(inside: str) -> None:
    for body in (inside.encode("utf-8", "replace"), ENVELOPE.format(inside).encode("utf-8", "replace")):
        try:
            answer = soap.reply(body)
        except EdgeAgentError:
            continue
        profiles_in(answer)
        onvif.service_xaddrs(answer)


@pytest.mark.skipif(not CAPTURES, reason="the shared field material is not beside this clone")
@given(st.sampled_from(CAPTURES or [Path()]), st.data())
@settings(max_examples=300)
def test_damaged_recordings_are_understood_or_refused(capture: Path, data: st.DataObject) -> None:
    body = bytearray(capture.read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=8))
        if not body:
            return
    read_clock(bytes(body), "", datetime.now(UTC))
    try:
        answer = soap.reply(bytes(body))
    except EdgeAgentError:
        return
    channels.numbers(channels.pairs(profiles_in(answer)), {})
    onvif.service_xaddrs(answer)
