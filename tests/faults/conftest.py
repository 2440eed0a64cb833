"""Makes this folder's modules importable: the disk that remembers, and the box that is tried on it."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
