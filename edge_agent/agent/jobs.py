"""Jobs by wall-clock time, driven by `schedule` from the owner's loop.

Only for what people expect by the clock (snapshots, rediscovery, reports). `schedule` counts in local wall
time, which NTP may move by hours on a box without an RTC: heartbeats, timeouts and leases never run here.
"""

from __future__ import annotations

from collections.abc import Callable

import schedule

from edge_agent.config import Config


class Jobs:
    """Main thread only. A job must not block: it starts something and returns."""

    def __init__(self, config: Config, take_snapshots: Callable[[], None]) -> None:
        self._scheduler = schedule.Scheduler()
        if snapshots_wanted(config):
            self._scheduler.every(config.snapshots.every_minutes).minutes.do(take_snapshots)

    def run_due(self) -> None:
        self._scheduler.run_pending()


def snapshots_wanted(config: Config) -> bool:
    """Scheduled snapshots are on unless the link is metered; the configuration may say otherwise."""
    if config.snapshots.enabled is not None:
        return config.snapshots.enabled
    return not config.uplink.metered
