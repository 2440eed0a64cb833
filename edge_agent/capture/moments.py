"""Moments as devices write them. Apart from `device_clock`, because the daemon's start must not load lxml."""

from __future__ import annotations

from datetime import UTC, datetime


def parse_moment(text: str) -> datetime | None:
    """An xs:dateTime; without a zone it is taken as UTC. None when it is no possible moment."""
    try:
        moment = datetime.fromisoformat(text.strip()[:40])
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
