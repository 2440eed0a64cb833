"""Named moments at which something must be looked at again. Pure; boottime nanoseconds."""

from __future__ import annotations

NEVER = 2**63


class Deadlines:
    """One moment a name. Fires in the order of time, then of name, so that a replay fires alike."""

    def __init__(self) -> None:
        self._due: dict[str, int] = {}
        self._first = NEVER

    @property
    def first(self) -> int:
        return self._first

    def set(self, name: str, at_ns: int) -> None:
        before = self._due.get(name)
        self._due[name] = at_ns
        if at_ns < self._first:
            self._first = at_ns
        elif before == self._first:
            self._refresh()

    def has(self, name: str) -> bool:
        return name in self._due

    def clear(self, name: str) -> None:
        if self._due.pop(name, NEVER) == self._first:
            self._refresh()

    def pop(self, until_ns: int) -> tuple[str, int] | None:
        """The earliest that is due by `until_ns`; it is forgotten."""
        if self._first > until_ns:
            return None
        at_ns, name = min((at_ns, name) for name, at_ns in self._due.items())
        del self._due[name]
        self._refresh()
        return name, at_ns

    def _refresh(self) -> None:
        self._first = min(self._due.values(), default=NEVER)
