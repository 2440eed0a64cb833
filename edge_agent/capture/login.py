"""One RTSP connection's dealings with the gate: when it may send its credentials, and what came of them."""

from __future__ import annotations

from edge_agent.capture.ports import CredentialGate, Door, Leave
from edge_agent.errors import SourceRefused
from edge_agent.model import Credentials, Endpoint


class CredentialsRefused(SourceRefused):
    """The device said no to our user name and password. `final`: nobody tries again before they change."""

    def __init__(self, reason: str, *, final: bool = True) -> None:
        super().__init__(reason)
        self.final = final


class Login:
    """Capture thread only. Without a gate whatever is asked is allowed."""

    def __init__(self, gate: CredentialGate | None, endpoint: Endpoint) -> None:
        self._gate = gate
        self._endpoint = endpoint

    @property
    def credentials(self) -> Credentials:
        """Raises CredentialsRefused when there are none."""
        if self._endpoint.credentials is None:
            raise CredentialsRefused("the device wants a user name and password (401)")
        return self._endpoint.credentials

    def ask(self, holds_s: float) -> Leave:
        """GO holds a claim until one of the three calls below, or for `holds_s`."""
        if self._gate is None:
            return Leave.GO
        host = self._endpoint.host
        return self._gate.ask(host, self.credentials, self, door=Door.RTSP, holds_s=holds_s)

    def accepted(self) -> None:
        if self._gate is not None:
            self._gate.right(self._endpoint.host, self.credentials, self, Door.RTSP)

    def refused(self, text: str) -> CredentialsRefused:
        """Count a wrong answer; what comes back says whether another try is left."""
        if self._gate is None:
            return CredentialsRefused("the device refuses the user name or password (401)")
        self._gate.wrong(self._endpoint.host, self.credentials, text, self, Door.RTSP)
        if self._gate.may_try(self._endpoint.host, self.credentials, Door.RTSP):
            return CredentialsRefused("the device refuses the user name or password (401)", final=False)
        return self.stopped()

    def stopped(self) -> CredentialsRefused:
        """Nothing more is sent with these credentials, and why."""
        if self._gate is None:
            return CredentialsRefused("the device refuses the user name or password (401)")
        return CredentialsRefused(self._gate.sentence(self._endpoint.host, self.credentials))

    def leave(self) -> None:
        """The device has not judged what was sent, and will not."""
        if self._gate is not None:
            self._gate.give_back(self)
