"""Shared fixtures: visible skips for missing tools, and the optional folder of field material."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings

SHARED = Path(__file__).resolve().parents[2] / "shared"
IN_CI = os.environ.get("EDGE_AGENT_CI") == "1"
LONGEST = ("whole/", "field_rtsp/", "net/", "faults/", "field/", "iccc/")  # rooms whose files take longest


settings.register_profile("any machine", deadline=None)  # how fast it is, is not what a test asserts
settings.load_profile("any machine")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take minutes come first, so that no worker waits at the end for one of them."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    path = item.path.relative_to(Path(__file__).parent).as_posix()
    return next((rank for rank, room in enumerate(LONGEST) if path.startswith(room)), len(LONGEST))


@pytest.fixture(autouse=True)
def _needs(request: pytest.FixtureRequest) -> None:
    """`@pytest.mark.needs("mosquitto")`: skip without the tool; fail under CI, which must skip nothing."""
    for mark in request.node.iter_markers("needs"):
        missing = [tool for tool in mark.args if shutil.which(tool, path=_PATH) is None]
        if missing and IN_CI:
            pytest.fail(f"CI must have {', '.join(missing)}")
        if missing:
            pytest.skip(f"needs {', '.join(missing)}: apt-get install it to run this test")


@pytest.fixture
def shared() -> Path:
    """Recorded replies and clips that are not part of the project; skipped where they are absent."""
    if not SHARED.is_dir():
        pytest.skip("the shared field material is not beside this clone")
    return SHARED


_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


@pytest.fixture(autouse=True)
def _heard() -> None:
    """What a test logs is heard, whatever a command that an earlier one ran in this process has muted."""
    logging.disable(logging.NOTSET)
    logging.getLogger().setLevel(logging.WARNING)
    for name, logger in list(logging.root.manager.loggerDict.items()):
        if name.split(".")[0] == "edge_agent" and isinstance(logger, logging.Logger):
            logger.disabled, logger.propagate = False, True
            logger.setLevel(logging.NOTSET)
