"""`python -m edge_agent.iccc --config iccc.toml`: the command centre's console."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import uvicorn

from edge_agent import log
from edge_agent.errors import EdgeAgentError
from edge_agent.iccc.client import IcccClient
from edge_agent.iccc.console.app import Access, create_app
from edge_agent.iccc.console.faults import DvrFaultPanel
from edge_agent.iccc.console.settings import ConsoleSettings, load


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    log.configure(options.log_level)
    given = {"port": options.port, "host": options.host, "dvr_control": options.dvr_control}
    try:
        settings = load(options.config, {name: value for name, value in given.items() if value is not None})
        serve(settings)
    except EdgeAgentError as error:
        print(error, file=sys.stderr)  # noqa: T201  the one word to the terminal
        return 2
    return 0


def serve(settings: ConsoleSettings) -> None:
    """Run until SIGINT or SIGTERM. Raises ConfigError or UplinkError when it cannot begin."""
    client = IcccClient(settings.client(), settings.trusted_boxes())
    access = Access(settings.operator, settings.user, settings.password.get_secret_value())
    faults = DvrFaultPanel(settings.dvr_control) if settings.dvr_control else None
    app = create_app(client, access, faults, settings.mirror, settings.departments)
    uvicorn.run(
        app, host=settings.host, port=settings.port, log_level="warning", access_log=False,
        ws="websockets-sansio", ws_max_size=4096, ws_per_message_deflate=False,
        server_header=False, timeout_graceful_shutdown=3,
    )  # fmt: skip


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m edge_agent.iccc", description=__doc__)
    parser.add_argument("--config", type=Path, required=True, help="TOML file, see docs/guides/iccc.md")
    parser.add_argument("--host", help="address to listen on (default 127.0.0.1; elsewhere needs a password)")
    parser.add_argument("--port", type=int)
    parser.add_argument("--dvr-control", metavar="URL", help="show the fault panel of a virtual recorder")
    parser.add_argument("--log-level", default="INFO", choices=("DEBUG", "INFO", "WARNING"))
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
