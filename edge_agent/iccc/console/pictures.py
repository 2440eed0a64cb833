"""Asks for the first picture of each camera that a person is about to look at. Owned by the event loop.

Pictures come by schedule, hourly by default; a console that has just started would show empty tiles until
then. So while somebody has the page open, each seeing camera without a picture is asked once in a while.
"""

from __future__ import annotations

import asyncio
import logging
import time

from edge_agent.errors import EdgeAgentError
from edge_agent.iccc.client import IcccClient
from edge_agent.iccc.console.desk import Desk

log = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
ASK_AGAIN_S = 120.0
AT_ONCE = 4
MAX_ASKED = 4096
REASON = "first picture for the console"


class FirstPictures:
    def __init__(self, client: IcccClient, desk: Desk, operator: str) -> None:
        self._client, self._desk, self._operator = client, desk, operator
        self._asked_s: dict[tuple[str, str], float] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self._desk.watched:
                due = self._due(time.monotonic())
                await asyncio.gather(*(self._ask(site, camera) for site, camera in due))

    def _due(self, now_s: float) -> list[tuple[str, str]]:
        self._asked_s = {key: at for key, at in self._asked_s.items() if now_s - at < ASK_AGAIN_S}
        waiting = [key for key in self._desk.without_picture() if key not in self._asked_s]
        due = waiting[: min(AT_ONCE, MAX_ASKED - len(self._asked_s))]
        self._asked_s.update(dict.fromkeys(due, now_s))
        return due

    async def _ask(self, site: str, camera: str) -> None:
        try:
            await asyncio.to_thread(
                self._client.snapshot, site, camera, operator=self._operator, reason=REASON
            )
        except EdgeAgentError as error:
            log.info("%s/%s: no first picture: %s", site, camera, error)
