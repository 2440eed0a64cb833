"""What the box knows of itself: load, memory, temperature, disk. For the heartbeat and `status`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

SENSORS = ("cpu_thermal", "coretemp", "k10temp", "soc_thermal", "acpitz")  # most telling first


@dataclass(frozen=True, slots=True)
class HostFacts:
    """One reading. Percentages 0-100 of the whole box; None where the box has no such sensor."""

    cpu_percent: float
    load_1m: float
    memory_percent: float
    memory_available_bytes: int
    process_rss_bytes: int
    process_cpu_s: float
    temperature_c: float | None
    disk_free_bytes: int
    disk_total_bytes: int
    uptime_s: int


class HostProbe:
    """Reads the facts; `cpu_percent` covers the time since the previous reading, 0 in the first. One thread.

    psutil is loaded by the first reading: a box that was killed records before it tells how it is.
    """

    def __init__(self, footage: Path) -> None:
        self._footage = footage
        self._process: psutil.Process | None = None

    def read(self, boottime_s: float) -> HostFacts:
        """Takes about a millisecond; never raises for a missing sensor or directory."""
        import psutil

        self._process = process = self._process or psutil.Process()
        memory = psutil.virtual_memory()
        disk = psutil.disk_usage(str(_existing(self._footage)))
        times = process.cpu_times()
        return HostFacts(
            cpu_percent=psutil.cpu_percent(interval=None),
            load_1m=psutil.getloadavg()[0],
            memory_percent=memory.percent,
            memory_available_bytes=memory.available,
            process_rss_bytes=process.memory_info().rss,
            process_cpu_s=times.user + times.system,
            temperature_c=_temperature(),
            disk_free_bytes=disk.free,
            disk_total_bytes=disk.total,
            uptime_s=int(boottime_s),
        )


def _existing(path: Path) -> Path:
    """The path, or its nearest parent that is there: the footage disk may not be mounted yet."""
    return next(p for p in (path, *path.absolute().parents) if p.exists())


def _temperature() -> float | None:
    import psutil

    if not hasattr(psutil, "sensors_temperatures"):
        return None
    try:
        readings = psutil.sensors_temperatures()
    except OSError:  # a sensor that vanishes while it is read
        return None
    for name in (*SENSORS, *sorted(readings)):
        for reading in readings.get(name, ()):
            if reading.current and reading.current > 0:
                return round(reading.current, 1)
    return None
