"""Publishes a policy to a site, and waits for the box's word: `python -m edge_agent.iccc.policy`.

It needs a certificate of its own (two clients with one name put each other out) and a key whose role at the
boxes is supervisor. docs/guides/iccc.md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Condition

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from edge_agent import log
from edge_agent.errors import ConfigError, EdgeAgentError, UplinkError
from edge_agent.health.policy import DutyPolicy
from edge_agent.iccc.belief import Boxes, believe
from edge_agent.iccc.console import settings as console_settings
from edge_agent.iccc.link import Arrived, BrokerLink, TlsFiles
from edge_agent.iccc.settings_file import signing_key
from edge_agent.uplink import topics, ulid
from edge_agent.uplink.messages import Reply, ReplyData
from edge_agent.uplink.policy import Policy, sign_policy
from edge_agent.uplink.topics import Down, Up, UpTopic

MAX_FILE = 64 * 1024
PATIENCE_S = 15.0


@dataclass(frozen=True, slots=True)
class Published:
    """The broker holds the policy. `reply` is the box's answer, None while it has not given one."""

    policy: Policy
    reply: ReplyData | None


def read_policy(path: Path) -> DutyPolicy:
    """A policy as TOML or JSON. Raises ConfigError that names every wrong key."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
        if len(content) > MAX_FILE:
            raise ConfigError([f"{path}: larger than {MAX_FILE} bytes"])
        document = json.loads(content) if path.suffix == ".json" else tomllib.loads(content.decode())
        return DutyPolicy.model_validate(document)
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror or error}"]) from error
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        raise ConfigError(
            [f"{path}: {'.'.join(map(str, f['loc'])) or 'file'}: {f['msg']}" for f in faults]
        ) from error
    except (ValueError, RecursionError) as error:
        raise ConfigError([f"{path}: not valid: {error}"]) from error


def order(site: str, policy: DutyPolicy, operator: str, reason: str, version: int | None = None) -> Policy:
    """A policy to sign. Without a version it gets the time in seconds: it rises by itself."""
    now_us = time.time_ns() // 1000
    seconds = now_us // 1_000_000
    return Policy(
        id=ulid.new(now_us), version=version or seconds, site=site, operator=operator, reason=reason,
        iat=seconds, policy=policy,
    )  # fmt: skip


class PolicyPublisher:
    """One connection for one order. Opens nothing before `publish`."""

    def __init__(self, broker: str, tls: TlsFiles, client_id: str, boxes: Boxes) -> None:
        self._boxes = boxes
        self._heard = Condition()
        self._connected = self._held = False
        self._signed = b""
        self._policy: Policy | None = None
        self._reply: ReplyData | None = None
        self._link = BrokerLink(broker, tls, client_id, self._arrived, self._changed)

    def publish(
        self, policy: Policy, key: Ed25519PrivateKey, kid: str, patience_s: float = PATIENCE_S
    ) -> Published:
        """Leave the policy with the broker, and wait for the box. Raises UplinkError without a broker."""
        if policy.site is None:
            raise UplinkError("a policy of a group goes to each of its sites")
        topic = topics.down(policy.site, Down.CONFIG)
        self._policy, self._signed = policy, sign_policy(key, kid, policy)
        deadline = time.monotonic() + patience_s
        self._link.subscribe(topic, 1)
        self._link.subscribe(topics.up(policy.site, Up.REPLY), 1)
        self._link.start()
        try:
            self._wait(lambda: self._connected, deadline, "the broker cannot be reached")
            self._link.publish(topic, self._signed, retain=True)
            self._wait(lambda: self._held, deadline, f"the broker did not take the policy on {topic}")
            with self._heard:
                self._heard.wait_for(lambda: self._reply is not None, max(0.0, deadline - time.monotonic()))
                return Published(policy, self._reply)
        finally:
            self._link.stop()

    def _wait(self, true: Callable[[], bool], deadline: float, fault: str) -> None:
        with self._heard:
            if not self._heard.wait_for(true, max(0.0, deadline - time.monotonic())):
                raise UplinkError(fault)

    def _changed(self, up: bool, _reason: str) -> None:
        with self._heard:
            self._connected = up
            self._heard.notify_all()

    def _arrived(self, arrived: Arrived) -> None:
        """The link's thread."""
        with self._heard:
            if arrived.payload == self._signed:
                self._held = True
            else:
                self._take_reply(arrived)
            self._heard.notify_all()

    def _take_reply(self, arrived: Arrived) -> None:
        try:
            topic = topics.parse(arrived.topic)
            message = believe(topic, arrived.payload, self._boxes) if isinstance(topic, UpTopic) else None
        except EdgeAgentError:
            return
        if isinstance(message, Reply) and self._policy and message.data.command == self._policy.id:
            self._reply = message.data


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    log.configure("WARNING")
    try:
        done = _publish(options)
    except EdgeAgentError as error:
        print(error, file=sys.stderr)  # noqa: T201  the one word to the terminal
        return 2
    reply = done.reply
    if reply is None:
        print(f"version {done.policy.version} waits at the broker; the box takes it when it connects")  # noqa: T201
        return 0
    told = f"{reply.code}: {reply.text}" if reply.code else "it holds now"
    print(f"version {done.policy.version}: {reply.status.value}; {told}")  # noqa: T201
    return 0 if reply.status.value == "done" else 1


def _publish(options: argparse.Namespace) -> Published:
    settings = console_settings.load(options.config)
    key = signing_key(options.key or settings.command_key)
    policy = order(
        options.site, read_policy(options.file), settings.operator, options.reason, options.version
    )
    tls = TlsFiles(settings.ca, settings.certificate, settings.key)
    publisher = PolicyPublisher(settings.broker, tls, settings.client_id, settings.trusted_boxes())
    return publisher.publish(policy, key, options.kid or settings.kid)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m edge_agent.iccc.policy", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="as the console's, with its own client_id")
    parser.add_argument("--key", type=Path, help="the supervisor's key in PEM (default: command_key)")
    parser.add_argument("--kid", help="its name at the boxes (default: kid)")
    parser.add_argument("--version", type=int, help="default: the time in seconds")
    parser.add_argument("--reason", default="", help="stands in the box's ledger")
    parser.add_argument("site")
    parser.add_argument("file", type=Path, help="the policy, TOML or .json")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
