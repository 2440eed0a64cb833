"""Asks a site how its cameras are when the console has just started. Owned by the event loop.

Births are retained by the broker, heartbeats are not: without asking, a camera's state would be unknown for
up to a minute.
"""

from __future__ import annotations

import asyncio
import logging

from edge_agent.errors import EdgeAgentError
from edge_agent.iccc.client import IcccClient
from edge_agent.iccc.console.desk import Desk

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.25
AT_ONCE = 8
MAX_ASKED = 100_000
REASON = "the console has started"


class FirstStates:
    def __init__(self, client: IcccClient, desk: Desk, operator: str) -> None:
        self._client, self._desk, self._operator = client, desk, operator
        self._asked: set[tuple[str, str]] = set()  # (site, session): once each

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            due = [key for key in self._desk.without_states() if key not in self._asked][:AT_ONCE]
            if len(self._asked) > MAX_ASKED:
                self._asked.clear()
            self._asked.update(due)
            await asyncio.gather(*(self._ask(site) for site, _session in due))

    async def _ask(self, site: str) -> None:
        try:
            reply = await asyncio.to_thread(
                self._client.command, site, "cameras.list", operator=self._operator, reason=REASON
            )
        except EdgeAgentError as error:
            log.info("%s: cameras not listed: %s", site, error)
        else:
            self._desk.listed(site, reply.data.result.get("cameras"))
