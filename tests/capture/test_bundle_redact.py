"""Redaction: nothing that tells who, where or the password is left, and what is left still fits together."""

from __future__ import annotations

import base64
import hashlib
import html
import ipaddress
import re
import string
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edge_agent.capture import bundle_finish, bundle_secrets
from edge_agent.capture.bundle import Bundle, Manifest, WebExchange
from edge_agent.capture.bundle_redact import Redactor
from edge_agent.capture.bundle_secrets import Secret
from edge_agent.model import Credentials

REACHED = "10.1.2.3"
LOGIN = Credentials("kamera-wala", "S0mosa&Chai!")

passwords = st.text(
    st.sampled_from(string.ascii_letters + string.digits + "@:/?#&=%+ <>\"'é"), min_size=4, max_size=20
).filter(lambda text: text == text.strip() and any(c.isalpha() for c in text))
octets = st.integers(0, 255)
addresses = st.builds(lambda *o: ".".join(map(str, o)), octets, octets, octets, octets)
macs = st.binary(min_size=6, max_size=6).filter(lambda b: len(set(b)) > 1).map(lambda b: b.hex(":"))


def redacted(
    *texts: str, login: Credentials | None = LOGIN, reached: tuple[str, ...] = (REACHED,)
) -> list[str]:
    redactor = Redactor(bundle_secrets.of(login), reached)
    for text in texts:
        redactor.learn(text)
    return [redactor.redact(text) for text in texts]


def spellings(password: str) -> list[str]:
    """As devices, browsers and XML writers hand a password back."""
    data = password.encode()
    return [
        password,
        quote(password, safe=""),
        re.sub("%..", lambda m: m[0].lower(), quote(password, safe="")),
        "".join(f"%{byte:02X}" for byte in data),
        html.escape(password),
        "".join(f"&#{ord(c)};" for c in password),
        "".join(f"&#x{ord(c):x};" for c in password),
        base64.b64encode(data).decode(),
        base64.b64encode(b"admin:" + data).decode(),
        data.hex(),
        hashlib.md5(data).hexdigest(),
    ]


@given(passwords, st.sampled_from(["{}", "<a>{}</a>", "rtsp://u:{}@10.0.0.9/x", "x={};y", '"{}"', "a {} b"]))
def test_a_known_password_is_gone_however_it_is_spelled(password: str, around: str) -> None:
    secret = Secret("password", password)
    assume(secret.tellable)
    for spelled in spellings(password):
        (clean,) = redacted(around.format(spelled), login=Credentials("somebody", password))
        assert bundle_secrets.betrayed(clean.encode("latin-1", "replace"), [secret]) is None
        if len(spelled) >= 6:
            assert spelled not in clean


@given(st.binary(max_size=400), st.binary(max_size=40))
def test_no_bytes_are_too_strange(content: bytes, password: bytes) -> None:
    login = Credentials("user", password.decode("latin-1"))
    redactor = Redactor(bundle_secrets.of(login), [REACHED])
    redactor.learn_bytes(content)
    assert isinstance(redactor.redact_bytes(content), bytes)


@given(st.lists(addresses, min_size=1, max_size=40))
def test_addresses_stay_the_same_and_stay_apart(found: list[str]) -> None:
    text = " ".join(found)
    (clean,) = redacted(text)
    pairs = list(zip(found, clean.split(" "), strict=True))
    assert len(dict(pairs)) == len(set(pairs))
    assert len({new for _, new in pairs}) == len(set(found))
    for old, new in pairs:
        if ipaddress.ip_address(old).is_private and not old.startswith(
            ("0.", "127.", "192.0.2.", "24", "25")
        ):
            assert ipaddress.ip_address(new) in ipaddress.ip_network("192.0.2.0/24")


@given(macs, st.sampled_from([":", "-"]))
def test_a_mac_keeps_only_its_maker(mac: str, separator: str) -> None:
    written = mac.replace(":", separator)
    plain = mac.replace(":", "").upper()
    clean, scope = redacted(f"<HwAddress>{written}</HwAddress>", f"urn:device:{plain}")
    made_up = re.sub("<[^>]*>", "", clean)
    assert made_up[:8] == written[:8]
    assert made_up[8:] != written[8:]
    assert scope.lower() == f"urn:device:{made_up.replace(separator, '')}"


@given(st.text(max_size=300))
def test_what_was_redacted_once_stays_as_it_is(text: str) -> None:
    text = text.encode("utf-8", "replace").decode("latin-1")
    (once,) = redacted(text)
    (twice,) = redacted(once, login=None, reached=("192.0.2.1",))
    assert twice == once


def test_lies_that_name_nobody_are_kept() -> None:
    lies = "http://0.0.0.0:80/onvif http://127.0.1.1/ 255.255.255.0 239.255.255.250 <V>V5.4.5.1</V>"
    assert redacted(lies) == [lies]


def test_a_firmware_version_is_no_address_but_a_private_address_there_is() -> None:
    text = "<tds:FirmwareVersion>4.0.12.7</tds:FirmwareVersion><b>4.0.12.7</b>"
    assert redacted(text) == [text]
    assert "192.168.1.9" not in redacted("<tds:FirmwareVersion>192.168.1.9</tds:FirmwareVersion>")[0]


def test_a_serial_is_found_in_the_realm_that_came_before_it() -> None:
    challenge = 'Digest realm="Login to 4K00E1PAZ8F2A31", nonce="f0a1"'
    told = "<tds:SerialNumber>4K00E1PAZ8F2A31</tds:SerialNumber>"
    realm, serial = redacted(challenge, told)
    name = re.findall(r">([^<]+)<", serial)[0]
    assert realm.startswith(f'Digest realm="Login to {name}"')
    assert re.fullmatch(r"\d[A-Z]\d\d[A-Z]\d[A-Z]{3}\d[A-Z]\d[A-Z]\d\d", name)
    assert name != "4K00E1PAZ8F2A31"


def test_a_serial_keeps_the_model_in_front_and_its_tail_in_the_realm() -> None:
    model = "<Model>DS-7216HQHI-K1</Model>"
    serial = "<SerialNumber>DS-7216HQHI-K11620220114CCWRJ12345678WCVU</SerialNumber>"
    _, told, realm = redacted(model, serial, 'Digest realm="IP Camera(78WCVU)"')
    name = re.findall(r">([^<]+)<", told)[0]
    assert name.startswith("DS-7216HQHI-K1")
    assert "CCWRJ12345678" not in name
    assert realm == f'Digest realm="IP Camera({name[-6:]})"'


def test_the_password_in_an_xm_path_goes_and_the_channel_stays() -> None:
    (clean,) = redacted("rtsp://10.1.2.3:554/user=admin_password=tlJwpbo6_channel=3_stream=0.sdp?real_stream")
    assert clean == "rtsp://192.0.2.1:554/user=user2_password=password2_channel=3_stream=0.sdp?real_stream"


def test_an_owner_is_not_told() -> None:
    scopes = (
        "onvif://www.onvif.org/name/Sharma%20Jewellers onvif://www.onvif.org/name/HIKVISION%20DVR "
        "onvif://www.onvif.org/location/city/Aligarh onvif://www.onvif.org/MAC/bcad28112233"
    )
    (clean,) = redacted(scopes)
    assert clean.split()[:3] == [
        "onvif://www.onvif.org/name/name1",
        "onvif://www.onvif.org/name/HIKVISION%20DVR",
        "onvif://www.onvif.org/location/place1",
    ]
    assert clean.split()[3].startswith("onvif://www.onvif.org/MAC/bcad28")
    assert "112233" not in clean
    person = '<SSID>ShopWifi24</SSID> e=owner@shop.example.in <tt:GeoLocation lon="78.08" lat="27.88"/>'
    (clean,) = redacted(person)
    assert not {"ShopWifi24", "owner@shop", "78.08", "27.88"} & set(re.split(r"[<>\s]", clean))
    assert "person1@example.org" in clean
    assert 'lon="00.00" lat="00.00"' in clean


def test_namespaces_stay_and_a_host_name_in_an_address_does_not() -> None:
    text = (
        '<e xmlns:tnsaxis="http://www.axis.com/2009/event/topics"><XAddr>http://sharma.dyndns.in:81/onvif</XAddr>'
        "<Action>http://www.onvif.org/ver10/x</Action><u>http://www.axis.com/2009/event/topics</u></e>"
    )
    (clean,) = redacted(text)
    assert clean == text.replace("sharma.dyndns.in", "host1.example")


def test_utf16_is_redacted_as_utf16() -> None:
    content = "\ufeff<Address>10.1.2.3</Address>".encode("utf-16-le")
    redactor = Redactor((), [REACHED])
    redactor.learn_bytes(content)
    assert redactor.redact_bytes(content).decode("utf-16") == "<Address>192.0.2.1</Address>"


def test_echoed_security_headers_and_proofs_go() -> None:
    text = (
        '<s:Header><wsse:Security a="b"><wsse:UsernameToken><wsse:Username>kamera-wala</wsse:Username>'
        "<wsse:Nonce>q83v</wsse:Nonce></wsse:UsernameToken></wsse:Security></s:Header>"
    )
    assert redacted(text) == ["<s:Header></s:Header>"]
    (proof,) = redacted('Digest nonce="5d0f3c5e9a7b1c2d", response="0123456789abcdef0123456789abcdef"')
    assert "5d0f3c5e9a7b1c2d" not in proof
    assert re.fullmatch(r'Digest nonce="[0-9a-f]{16}", response="[0-9a-f]{32}"', proof)


def test_a_password_that_every_device_says_is_replaced_where_passwords_stand() -> None:
    text = "<Profiles>admin</Profiles><tt:Password>admin</tt:Password> rtsp://admin:admin@10.1.2.3/"
    (clean,) = redacted(text, login=Credentials("onvif", "admin"))
    assert clean.startswith("<Profiles>admin</Profiles><tt:Password>password1</tt:Password>")
    assert "rtsp://user2:password1@192.0.2.1/" in clean


def test_a_secret_that_was_missed_stops_the_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = WebExchange("GetUsers", "x", body="onvif/1.xml")
    manifest = Manifest("t", "2026-01-01T00:00Z", REACHED, 80, 554, web=(exchange,))
    collected = Bundle(manifest, {"onvif/1.xml": quote(quote(LOGIN.password)).encode()})
    monkeypatch.setattr(bundle_secrets, "pattern", lambda _: re.compile("nothing like it"))
    with pytest.raises(
        bundle_finish.SecretLeft, match=r"onvif/1.xml: the password can still be read"
    ) as error:
        bundle_finish.finish(collected, bundle_secrets.of(LOGIN), [REACHED])
    assert LOGIN.password not in str(error.value)
