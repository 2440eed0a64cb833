from __future__ import annotations

import pytest

from edge_agent.agent.finder import endpoint
from edge_agent.errors import ConfigError
from edge_agent.model import Credentials


def test_a_password_with_reserved_characters_is_decoded_and_kept_out_of_the_url() -> None:
    point = endpoint("cam-01", "rtsp://admin:p%40ss%3A%2F%23%3F@192.0.2.7/Streaming/Channels/101?x=1")
    assert point.url == "rtsp://192.0.2.7:554/Streaming/Channels/101?x=1"
    assert (point.host, point.port) == ("192.0.2.7", 554)
    assert point.credentials == Credentials("admin", "p@ss:/#?")
    assert "p@ss" not in repr(point)


@pytest.mark.parametrize("url", ["http://192.0.2.7/", "rtsp:///path", "rtsp://h:port/x", "rtsp://[::1/x", ""])
def test_an_unusable_url_is_one_clear_error_without_its_content(url: str) -> None:
    with pytest.raises(ConfigError, match=r"cameras\.cam-01\.url") as caught:
        endpoint("cam-01", url)
    assert url == "" or url not in str(caught.value)
