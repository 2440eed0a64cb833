"""CPU and memory of other processes, as the kernel counts them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MIB = 1024 * 1024
_CPUCLOCK_SCHED = 2


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes. PSS counts shared pages once over all processes that map them, RSS in each."""

    pss: int
    rss: int

    def __add__(self, other: Memory) -> Memory:
        return Memory(self.pss + other.pss, self.rss + other.rss)


def cpu_s(pid: int) -> float:
    """User and system time of a running process with all its threads, ended ones too, in nanosecond steps.

    This is the clock that `clock_getcpuclockid(3)` names; /proc/PID/stat only has steps of 10 ms.
    """
    return time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)


def tree_cpu_s(pids: Iterable[int]) -> float:
    """The same, summed over the processes and those of their children that still run."""
    return sum(cpu_s(pid) for root in pids for pid in (root, *children(root)))


def children(pid: int) -> tuple[int, ...]:
    """Direct children, of whichever thread."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += map(int, (task / "children").read_text(encoding="ascii").split())
    return tuple(found)


def memory(pid: int) -> Memory:
    fields = dict(
        line.split(":", 1)
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()[1:]
    )
    return Memory(_kilobytes(fields["Pss"]), _kilobytes(fields["Rss"]))


def total_memory(pids: Iterable[int]) -> Memory:
    return sum(map(memory, pids), Memory(0, 0))


def _kilobytes(text: str) -> int:
    return int(text.split()[0]) * 1024
