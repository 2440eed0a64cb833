"""One remote command under way. Main thread only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from edge_agent.errors import EdgeAgentError
from edge_agent.uplink.commands import Command
from edge_agent.uplink.messages import Lifecycle, ReplyData

if TYPE_CHECKING:
    from edge_agent.agent.owner import Owner

SILENT = frozenset({"live.renew"})  # a viewing is one leaf, not one every few seconds


class CommandFailed(EdgeAgentError):
    """The command cannot be carried out; `code` goes into the reply."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


class Task:
    """One command under way: says where it stands to the command centre and to the ledger."""

    def __init__(self, owner: Owner, command: Command) -> None:
        self._owner = owner
        self.command = command

    def accept(self) -> None:
        self._tell(Lifecycle.ACCEPTED)
        self._note("received")

    def under_way(self, **result: JsonValue) -> None:
        """A playback has begun; `done` or `fail` will say when and why it ended."""
        self._tell(Lifecycle.PROGRESS, result=result)

    def reached(self, percent: int) -> None:
        """Long work goes on."""
        self._tell(Lifecycle.PROGRESS, progress=percent)

    def done(self, **result: JsonValue) -> None:
        self._tell(Lifecycle.DONE, result=result)
        self._note("done")

    def fail(self, code: str, text: str) -> None:
        self._tell(Lifecycle.FAILED, code=code, text=text[:512])
        self._note("failed", text)

    def _tell(self, status: Lifecycle, **more: Any) -> None:
        self._owner.link.reply(ReplyData(command=self.command.id, op=self.command.op, status=status, **more))

    def _note(self, outcome: str, text: str = "") -> None:
        if self.command.op not in SILENT:
            self._owner.journal.command(self.command, outcome, text)
