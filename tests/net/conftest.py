"""The bad line is for tests of what crosses a network; it needs root and TUN."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from lab import Lab, lab


@pytest.fixture
def line() -> Iterator[Lab]:
    """Two namespaces with a perfect line between them, to be spoilt by the test."""
    with lab() as built:
        yield built
