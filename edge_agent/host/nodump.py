"""No picture and no key of this process ever lands in a core dump."""

from __future__ import annotations

import ctypes
import logging
import resource

log = logging.getLogger(__name__)

PR_SET_DUMPABLE = 4  # linux/prctl.h


def forbid_core_dumps() -> None:
    """For this process, threads included, for good; children inherit the limit, `exec` lifts the rest.

    Both are needed: a core_pattern that pipes ignores the limit, a crash handler may ignore the flag. The
    flag also keeps other processes of the same user from reading our memory (ptrace(2)).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        refused = ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    except (OSError, AttributeError):
        refused = -1
    if refused:
        log.warning("core dumps: prctl is refused here; only the limit of 0 bytes holds")
