"""Logging for a box in the field: one line, UTC time, and never a credential."""

from __future__ import annotations

import logging
import re
import sys
import time

_USERINFO = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^/\s@]*:[^\s]*@", re.IGNORECASE)
_XM_PATH = re.compile(r"(user=[^_\s&]*_password=)[^_\s&]*", re.IGNORECASE)
_QUERY = re.compile(r"((?:password|passwd|pwd|token)[=:]\s*)[^\s&,;'\"]+", re.IGNORECASE)
MAX_LINE = 4000


def redact(text: str) -> str:
    """Take credentials out of URLs and key=value text, and defuse control characters."""
    text = _USERINFO.sub(r"\g<scheme>***@", text)
    text = _XM_PATH.sub(r"\1***", text)
    text = _QUERY.sub(r"\1***", text)
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text[:MAX_LINE])


class RedactingFormatter(logging.Formatter):
    converter = staticmethod(time.gmtime)
    default_msec_format = "%s.%03dZ"
    default_time_format = "%Y-%m-%dT%H:%M:%S"

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def configure(level: str = "INFO", *, under_systemd: bool = False) -> None:
    """Log to stderr; under systemd the journal adds the time itself."""
    handler = logging.StreamHandler(sys.stderr)
    stamp = "" if under_systemd else "%(asctime)s "
    handler.setFormatter(RedactingFormatter(stamp + "%(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("zeep", "urllib3", "schedule", "paho"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
