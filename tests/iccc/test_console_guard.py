"""Who may talk to the console."""

from __future__ import annotations

import asyncio
import base64
from pathlib import Path
from typing import Any

import pytest

from edge_agent.errors import ConfigError
from edge_agent.iccc.console.guard import Guard
from edge_agent.iccc.console.settings import load

OURS = "127.0.0.1:8000"


async def inner(scope: Any, _receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
    else:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-mine", b"1")]})
        await send({"type": "http.response.body", "body": b"hello"})


def ask(kind: str = "http", password: str = "", **headers: str) -> list[dict[str, Any]]:
    """What the guarded application answers; header names with underscores."""
    sent: list[dict[str, Any]] = []
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": kind, "method": "POST", "path": "/", "query_string": b"", "headers": raw}

    async def receive() -> dict[str, Any]:
        return {"type": f"{kind}.connect" if kind == "websocket" else "http.request"}

    async def send(message: Any) -> None:
        sent.append(dict(message))

    asyncio.run(Guard(inner, user="operator", password=password)(scope, receive, send))
    return sent


def status(**more: str) -> int:
    return int(ask(**more)[0]["status"])  # type: ignore[arg-type]


def opened(**more: str) -> bool:
    return bool(ask("websocket", **more)[0]["type"] == "websocket.accept")


@pytest.mark.parametrize("host", [OURS, "localhost:8000", "[::1]:8000", "localhost"])
def test_loopback_names_are_served_without_a_password(host: str) -> None:
    assert status(host=host) == 200
    assert opened(host=host)


@pytest.mark.parametrize("host", ["evil.example:8000", "127.0.0.1.evil.example", "", "10.0.0.5:8000"])
def test_a_rebound_name_is_refused(host: str) -> None:
    assert status(host=host) == 421
    assert not opened(host=host)


@pytest.mark.parametrize("origin", ["http://evil.example", "http://127.0.0.1:9999", "null"])
def test_a_foreign_page_can_neither_order_nor_listen(origin: str) -> None:
    assert status(host=OURS, origin=origin) == 403
    assert not opened(host=OURS, origin=origin)


def test_our_own_page_may_do_both() -> None:
    assert status(host=OURS, origin=f"http://{OURS}") == 200
    assert opened(host=OURS, origin=f"http://{OURS}")


def test_a_cross_site_request_without_origin_is_refused() -> None:
    assert status(host=OURS, sec_fetch_site="cross-site") == 403


@pytest.mark.parametrize("wrong", ["operator:wrong", "operator", "other:correct horse", ""])
def test_elsewhere_a_wrong_password_opens_nothing(wrong: str) -> None:
    host = "console.city:8000"
    assert status(host=host, password="correct horse", authorization=basic(wrong)) == 401
    assert not opened(host=host, password="correct horse", authorization=basic(wrong))


def test_elsewhere_the_password_opens_pages_and_sockets() -> None:
    host, given = "console.city:8000", basic("operator:correct horse")
    assert status(host=host, password="correct horse", authorization=given) == 200
    assert opened(host=host, password="correct horse", authorization=given)
    assert dict(ask(host=host, password="correct horse")[0]["headers"])[b"www-authenticate"].startswith(
        b"Basic"
    )


def test_pages_carry_a_policy_that_lets_nothing_foreign_in() -> None:
    headers = dict(ask(host=OURS)[0]["headers"])
    assert b"default-src 'none'" in headers[b"content-security-policy"]
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"x-mine"] == b"1"


MINIMAL = 'broker = "mqtts://b"\nca = "ca"\ncertificate = "c"\nkey = "k"\ncommand_key = "ck"\nkid = "d"\n'
MINIMAL += 'recipient_key = "rk"\nrecipient_id = "i"\n'


def test_other_addresses_than_loopback_need_a_password(tmp_path: Path) -> None:
    file = tmp_path / "iccc.toml"
    file.write_text(MINIMAL)
    with pytest.raises(ConfigError, match="needs a password"):
        load(file, {"host": "0.0.0.0"})
    assert load(file, {"host": "0.0.0.0", "password": "long enough"}).host == "0.0.0.0"
    assert load(file).ca == tmp_path / "ca"


def test_unknown_keys_are_named(tmp_path: Path) -> None:
    file = tmp_path / "iccc.toml"
    file.write_text(MINIMAL + 'pasword = "x"\n')
    with pytest.raises(ConfigError, match="pasword"):
        load(file)


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()
