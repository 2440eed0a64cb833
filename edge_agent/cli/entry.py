"""The console script. `run` goes its own short way: a box that was killed must record again at once.

The terminal's libraries (typer, rich) cost a third of the daemon's start, and it needs none of them.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from pathlib import Path

from edge_agent.errors import EdgeAgentError
from edge_agent.log import redact

DEFAULT_CONFIG = Path("/etc/edge-agent/edge-agent.toml")
CONFIG_VARIABLE = "EDGE_AGENT_CONFIG"


def main() -> None:
    """Never returns; an explained error, or a file that cannot be used, is one message and exit code 1."""
    try:
        sys.exit(_run(sys.argv[2:]) if _is_service(sys.argv) else _command())
    except EdgeAgentError as error:
        for line in redact(str(error)).splitlines():
            print(f"edge-agent: {line}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:
        if error.filename is None:
            raise
        print(f"edge-agent: {error.filename}: {error.strerror}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _is_service(arguments: list[str]) -> bool:
    return arguments[1:2] == ["run"] and not {"-h", "--help"} & set(arguments)


def _run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("edge-agent run")
    default = os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG
    parser.add_argument("--config", "-c", type=Path, default=Path(default))
    config: Path = parser.parse_args(arguments).config
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")  # or pydantic reads every package's metadata
    gc.disable()  # modules that load leave nothing to collect, and looking costs a seventh of the start
    from edge_agent import app

    gc.freeze()
    gc.enable()
    return app.run(config)


def _command() -> int:
    from edge_agent.cli.main import app

    app()
    return 0
