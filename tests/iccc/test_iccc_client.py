"""The client library against a real broker: commands, pictures, live streams, and what is not believed."""

from __future__ import annotations

from typing import Any

import pytest

from edge_agent.errors import UplinkError
from edge_agent.iccc.client import CommandRefused
from edge_agent.iccc.live import LiveFragment, LiveInit
from edge_agent.iccc.measure import decodes, measure_live
from edge_agent.model import Role

pytestmark = pytest.mark.needs("mosquitto")
SITE = "pump-17"


def test_a_command_is_signed_for_the_session_of_the_birth_and_answered(client: Any, box: Any) -> None:
    reply = client.command(SITE, "cameras.list", operator="asha", reason="check")
    assert reply.data.status == "done"
    assert box.commands[-1].session == box.stamper.session
    assert (box.commands[-1].operator, box.commands[-1].reason) == ("asha", "check")


def test_a_refusal_carries_the_boxs_code(client: Any) -> None:
    with pytest.raises(CommandRefused, match="not_found"):
        client.snapshot(SITE, "cam-99", operator="asha")


def test_a_site_that_never_reported_cannot_be_commanded(client: Any) -> None:
    with pytest.raises(UplinkError, match="has not reported"):
        client.command("pump-18", "cameras.list", operator="asha")


def test_a_snapshot_comes_back_as_a_jpeg(client: Any) -> None:
    still = client.snapshot(SITE, "cam-02", operator="asha", reason="test")
    assert still.jpeg.startswith(b"\xff\xd8")


def test_live_begins_with_init_and_a_keyframe_and_decodes(client: Any) -> None:
    with client.live(SITE, "cam-01", Role.SUB, operator="asha") as stream:
        items = [item for item in (stream.next_item(5) for _ in range(8)) if item]
    assert isinstance(items[0], LiveInit)
    assert isinstance(items[1], LiveFragment)
    assert items[1].header.keyframe
    assert decodes(b"".join(item.data for item in items))
    assert not stream.receiver.refused


def test_measuring_gives_figures(client: Any) -> None:
    client.live(SITE, "cam-01", Role.SUB, operator="asha").close()
    measured = measure_live(client, SITE, "cam-01", Role.SUB, operator="asha")
    assert measured.first_record_ms is not None
    assert measured.first_picture_ms is not None
    assert measured.first_record_ms <= measured.first_picture_ms
    assert measured.delays_ms
    assert (measured.width, measured.height) == (640, 360)
