"""The published contract says what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from edge_agent.model import Role
from edge_agent.uplink import messages, parts, schemas, topics, ulid
from edge_agent.uplink.commands import Code, Command
from edge_agent.uplink.operations import OPERATIONS
from edge_agent.uplink.policy import Policy
from edge_agent.uplink.topics import Down, MediaKind, Up

DOCS = Path(__file__).resolve().parents[2] / "docs"
PROTOCOL = (DOCS / "protocol.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```json\n(.*?)```", PROTOCOL, re.DOTALL)
CONTRACT = yaml.safe_load((DOCS / "asyncapi.yaml").read_text(encoding="utf-8"))
ADDRESSES = {channel["address"] for channel in CONTRACT["channels"].values()}


def test_the_schemas_are_those_of_the_models() -> None:
    files = {p.name: p.read_text(encoding="utf-8") for p in (DOCS / "schemas").glob("*.json")}
    assert files == schemas.texts(), "run: python -m edge_agent.uplink.schemas docs/schemas"


def kind(document: dict[str, object]) -> object:
    return "policy" if "policy" in document else document.get("type", "command")


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_parses_and_fits_its_schema(example: str) -> None:
    document = json.loads(example)
    name = kind(document)
    if name == "policy":
        Policy.model_validate_json(example)
    elif name == "command":
        Command.model_validate_json(example).typed_args()
    else:
        assert messages.decode(example.encode()).type == name
    jsonschema.validate(document, json.loads((DOCS / "schemas" / f"{name}.json").read_text()))


def test_every_kind_of_message_has_an_example() -> None:
    shown = {kind(json.loads(e)) for e in EXAMPLES}
    assert shown == {"state", "birth", "heartbeat", "event", "reply", "command", "policy"}


def built() -> set[str]:
    """Every topic that the code can build, with its variables put back."""
    session = ulid.from_bytes(bytes(16))
    made = [topics.up("site", leaf) for leaf in Up if leaf is not Up.SNAPSHOT]
    made += [topics.down("site", leaf) for leaf in Down]
    made += [topics.snapshot("site", "camera"), topics.group_command("group")]
    made += [
        topics.media("site", session, kind, "camera", Role.SUB).replace("/sub", "/{role}")
        for kind in MediaKind
    ]
    put_back = (
        (session, "{session}"),
        ("/site", "/{site}"),
        ("/camera", "/{camera}"),
        ("/group", "/{group}"),
    )
    for text, variable in put_back:
        made = [topic.replace(text, variable) for topic in made]
    return set(made)


def test_the_contract_and_the_page_name_exactly_the_topics_of_the_code() -> None:
    assert built() == ADDRESSES
    assert built() == set(re.findall(r"^\| `(iccc/v1/[^`]+)`", PROTOCOL, re.MULTILINE))


def test_every_reference_of_the_contract_leads_somewhere() -> None:
    for reference in re.findall(r"\$ref: \"?([^\s\"}]+)", (DOCS / "asyncapi.yaml").read_text()):
        if reference.startswith("#/"):
            node = CONTRACT
            for step in reference[2:].split("/"):
                node = node[step]
        else:
            assert (DOCS / reference).is_file(), reference


def test_the_contract_has_every_message_and_the_arguments_of_every_operation() -> None:
    components = CONTRACT["components"]
    assert {message.model_fields["type"].default for message in messages.MESSAGES} <= set(
        components["messages"]
    )
    assert {f"args.{name}" for name in OPERATIONS} | {"clip-started", "live-started"} == set(
        components["schemas"]
    )
    for name, schema in components["schemas"].items():
        assert schema == {"$ref": f"schemas/{name}.json"}


def test_each_channel_of_the_contract_is_sent_or_received_once() -> None:
    used = [operation["channel"]["$ref"] for operation in CONTRACT["operations"].values()]
    assert sorted(used) == sorted(f"#/channels/{name}" for name in CONTRACT["channels"])
    for operation in CONTRACT["operations"].values():
        channel = CONTRACT["channels"][operation["channel"]["$ref"].rsplit("/", 1)[1]]
        goes_up = "/up/" in channel["address"] or ".av/" in channel["address"]
        assert operation["action"] == ("send" if goes_up else "receive")


def test_the_page_names_every_refusal_and_every_operation() -> None:
    for word in [*(code.value for code in Code), *OPERATIONS]:
        assert f"`{word}`" in PROTOCOL, word


def test_the_page_gives_the_part_header_as_it_is() -> None:
    assert f"header of {parts.HEADER.size} bytes" in PROTOCOL
    assert f"`{parts.MAGIC.decode()}`" in PROTOCOL
