"""JSON Schemas of everything that is JSON in the protocol, from the models themselves.

`python -m edge_agent.uplink.schemas docs/schemas` writes them; a test keeps the files equal to the code.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pydantic import BaseModel

from edge_agent.uplink.clip import ClipStarted
from edge_agent.uplink.commands import Command
from edge_agent.uplink.messages import MESSAGES, LiveStarted
from edge_agent.uplink.operations import OPERATIONS
from edge_agent.uplink.policy import Policy

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def texts() -> dict[str, str]:
    """File name -> content."""
    models: dict[str, type[BaseModel]] = {m.__name__.lower(): m for m in MESSAGES}
    models |= {"clip-started": ClipStarted, "command": Command, "live-started": LiveStarted, "policy": Policy}
    models |= {f"args.{name}": operation.args for name, operation in OPERATIONS.items()}
    return {f"{name}.json": _text(model) for name, model in sorted(models.items())}


def _text(model: type[BaseModel]) -> str:
    schema = {"$schema": DIALECT, **model.model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for file_name, content in texts().items():
        (folder / file_name).write_text(content, encoding="utf-8")
