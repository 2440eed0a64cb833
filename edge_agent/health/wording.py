"""Every verdict in words, for people: while it lasts, and of a night that is over. Pure; the only such table.

The words say what a box beside the recorder observed: no deed, no person, and no more than the verdict's
evidence carries. An input that is off in the recorder's menu, a cable and a camera that fails look alike.
"""

from __future__ import annotations

_BOTH: dict[str, str] = {
    "box_power_lost": "the box lost power or was reset",
    "box_shutdown": "the box was shut down",
    "box_stood_still": "the box itself stood still",
    "agent_stopped": "the agent was stopped",
    "agent_killed": "the agent ended without a farewell",
    "agent_off": "the agent did not run",
    "dvr_reboot": "the recorder restarted",
    "clock_step": "a clock jumped",
    "ledger_hole": "a part of the ledger is missing",
    "no_record": "the box told nothing",
    "starting": "the agent was starting",
}
_NOW_THEN: dict[str, tuple[str, str]] = {
    "power_cut": ("mains power is out", "mains power was out"),
    "dvr_off_mains_present": (
        "the recorder or its network is off, mains power is present",
        "the recorder or its network was off, mains power was present",
    ),
    "dvr_off": ("the recorder or its network is off", "the recorder or its network was off"),
    "dvr_unreachable": ("the recorder cannot be reached", "the recorder could not be reached"),
    "dvr_refuses": (
        "the recorder is on and refuses connections",
        "the recorder was on and refused connections",
    ),
    "all_cameras_off": (
        "all cameras lost their picture together, nothing else is seen to fail",
        "all cameras lost their picture together, nothing else was seen to fail",
    ),
    "camera_lost": ("no pictures come from this camera", "no pictures came from this camera"),
    "no_signal_slate": (
        "a still screen comes in place of this camera's picture",
        "a still screen came in place of this camera's picture",
    ),
    "black": ("the picture is black", "the picture was black"),
    "covered": ("the picture is covered", "the picture was covered"),
    "blurred": ("the picture is blurred", "the picture was blurred"),
    "moved": ("the camera looks elsewhere", "the camera looked elsewhere"),
    "frozen": ("the picture stands still", "the picture stood still"),
    "stream_refused": ("the device refuses this stream", "the device refused this stream"),
    "login_refused": ("the device refuses our login", "the device refused our login"),
    "recording_stopped": (
        "the recorder reports that its storage has failed",
        "the recorder reported that its storage had failed",
    ),
    "lan_down": ("the box's own network port has no link", "the box's own network port had no link"),
    "wan_down": ("the line to the command centre is down", "the line to the command centre was down"),
    "broker_down": ("the command centre does not answer", "the command centre did not answer"),
    "undetermined": ("no pictures come, why is not known yet", "no pictures came, why is not known"),
}
KNOWN = (*_NOW_THEN, *_BOTH)


def now(verdict: str) -> str:
    """While it lasts: `the recorder cannot be reached`."""
    return _NOW_THEN.get(verdict, (_both(verdict), ""))[0]


def then(verdict: str) -> str:
    """When it is over: `the recorder could not be reached`."""
    return _NOW_THEN.get(verdict, ("", _both(verdict)))[1]


def _both(verdict: str) -> str:
    """A word that this version does not know is told as it is."""
    return _BOTH.get(verdict, verdict.replace("_", " ") or "no cause is given")
