"""Errors that have a cure. The text says what, which camera, and what to do next."""

from __future__ import annotations


class EdgeAgentError(Exception):
    """Base of every error that is explained to a person rather than traced."""


class ConfigError(EdgeAgentError):
    """The configuration cannot be used; carries every problem found, not only the first."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class SourceLost(EdgeAgentError):
    """A camera's stream ended or never began; retried with back-off."""


class SourceRefused(EdgeAgentError):
    """The device answered and said no (wrong password, 404, session limit)."""


class FormatError(EdgeAgentError):
    """Bytes do not follow their format: hostile or damaged input, never a bug of ours."""


class SealError(EdgeAgentError):
    """A record could not be sealed or opened."""


class LedgerError(EdgeAgentError):
    """The ledger's file or a proof does not hold."""


class RingError(EdgeAgentError):
    """The ring cannot do what was asked."""


class UplinkError(EdgeAgentError):
    """The broker or the command centre refused, or an answer cannot be believed."""


class DeviceError(EdgeAgentError):
    """An ONVIF device failed at one step; `step` names it, the text is for the technician."""

    def __init__(self, step: str, sentence: str) -> None:
        super().__init__(sentence)
        self.step = step
