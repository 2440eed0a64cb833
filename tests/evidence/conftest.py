from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from evidence_site import Site
from evidence_world import Box, minutes


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Twelve seconds in three marked stretches."""
    return Site(tmp_path / "box", minutes(Box(uid="url:cam-01"), 3)).write()
