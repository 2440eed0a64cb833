"""What the configuration says about the uplink, as the links need it. Pure."""

from __future__ import annotations

from edge_agent import config
from edge_agent.uplink import topics
from edge_agent.uplink.link import Broker, LinkSettings

CONTROL_EXPIRY_S = 24 * 3600  # the broker keeps our subscriptions and their messages so long
MEDIA_KEEPALIVE_S = 20
SHORTEST_KEEPALIVE_S, LONGEST_KEEPALIVE_S = 60, 240  # carriers forget an idle flow after some five minutes


def control_settings(site: str, uplink: config.Uplink) -> LinkSettings | None:
    """None when no broker is configured."""
    if not uplink.enabled or not uplink.brokers:
        return None
    if uplink.ca is None or uplink.certificate is None or uplink.key is None:
        return None  # the configuration refuses this when brokers are named
    return LinkSettings(
        brokers=tuple(Broker.parse(url) for url in uplink.brokers),
        client_id=site,
        ca=uplink.ca,
        certificate=uplink.certificate,
        key=uplink.key,
        keepalive_s=_keepalive_s(uplink.heartbeat_s),
        session_expiry_s=CONTROL_EXPIRY_S,
        redirects=uplink.allow_redirects,
    )


def media_settings(site: str, uplink: config.Uplink) -> LinkSettings | None:
    """As above, under the media certificate; without one the control certificate is tried."""
    control = control_settings(site, uplink)
    if control is None:
        return None
    return LinkSettings(
        brokers=control.brokers,
        client_id=topics.media_client(site),
        ca=control.ca,
        certificate=uplink.media_certificate or control.certificate,
        key=uplink.media_key or control.key,
        keepalive_s=MEDIA_KEEPALIVE_S,
        redirects=control.redirects,
        gentle=True,
    )


def _keepalive_s(heartbeat_s: float) -> int:
    """Longer than the pause between heartbeats: beside those, a ping would be waste."""
    return round(min(max(SHORTEST_KEEPALIVE_S, 1.5 * heartbeat_s), LONGEST_KEEPALIVE_S))
