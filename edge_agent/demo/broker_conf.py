"""The texts that configure a broker: pure. docs/broker/README.md gives the reason of each line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from edge_agent.demo.pki import Identity

MESSAGE_LIMIT = 128 * 1024  # the protocol's largest payload is 120 KiB

MOSQUITTO = f"""\
tls_version tlsv1.2
require_certificate true
use_identity_as_username true
use_username_as_clientid true
allow_anonymous false
set_tcp_nodelay true
max_packet_size {MESSAGE_LIMIT}
max_inflight_messages 64
max_queued_messages 10000
max_queued_bytes 16777216
max_keepalive 600
persistence true
persistent_client_expiration 14d
autosave_interval 60
log_dest stderr
log_type error
log_type warning
log_type notice
"""

_IOTCORE = f"""\
id = 0

[router]
id = 0
max_connections = 200
max_outgoing_packet_count = 200
max_segment_size = 4194304
max_segment_count = 8

[v5.1]
name = "demo"
listen = "127.0.0.1:%PORT%"
next_connection_delay_ms = 1

[v5.1.tls]
certpath = "%CERTIFICATE%"
keypath = "%KEY%"

[v5.1.connections]
connection_timeout_ms = 10000
max_payload_size = {MESSAGE_LIMIT}
max_inflight_count = 100
dynamic_filters = true
"""


def mosquitto_conf(
    port: int,
    ca: Path,
    server: Identity,
    acl: Path,
    directory: Path,
    *,
    user: str = "",
    host: str = "127.0.0.1",
) -> str:
    """One TLS listener on `host`. `user` is whom a broker started by root becomes."""
    lines = [
        f"listener {port} {host}",
        f"cafile {ca}",
        f"certfile {server.certificate}",
        f"keyfile {server.key}",
        f"acl_file {acl}",
        f"persistence_location {directory}/",
    ]
    if user:
        lines.append(f"user {user}")
    return "\n".join(lines) + "\n" + MOSQUITTO


def mosquitto_acl(workers: Iterable[str]) -> str:
    """Boxes by pattern, bound to their common name; the command centre's workers by name."""
    lines = [
        "pattern write iccc/v1/%u/up/#",
        "pattern read iccc/v1/%u/dn/#",
        "pattern write iccc/v1/%u/+/+/+/+",  # session/kind/camera/role: deeper than a box's own dn/...
        "pattern read iccc/v1/all/#",
    ]
    for worker in workers:
        lines += [
            f"user {worker}",
            "topic read iccc/v1/#",
            "topic write iccc/v1/+/dn/#",
            "topic write iccc/v1/all/#",
        ]
    return "\n".join(lines) + "\n"


def iotcore_toml(port: int, server: Identity) -> str:
    """rumqttd's own file. Its defaults listen on every interface and refuse payloads above 20 KB."""
    return (
        _IOTCORE.replace("%PORT%", str(port))
        .replace("%CERTIFICATE%", str(server.certificate))
        .replace("%KEY%", str(server.key))
    )
