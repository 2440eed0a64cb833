"""What a lens, or a recorder without a signal, gives to be measured: sizes and pictures. Seeded, pure."""

from __future__ import annotations

import random

from edge_agent.health.signals import PictureMeasured
from edge_agent.model import Instant

SIZES = {"day": 9000, "infrared": 6000, "unlit": 3000, "wall": 5000, "covered": 2500}  # between keyframes


def picture(sees: str, number: int, name: str, at: Instant, r: random.Random) -> PictureMeasured:
    still = (0.0, f"{sees}{number}")
    live = (r.uniform(0.02, 0.3), f"{r.getrandbits(64):016x}")
    match sees:
        case "slate":
            return PictureMeasured(at, name, 46.0, 12.0, 0.02, 18.0, 0.95, *still)
        case "other_slate":
            return PictureMeasured(at, name, 60.0, 14.0, 0.03, 18.0, 0.95, None, still[1])
        case "black_slate":
            return PictureMeasured(at, name, 18.0, 6.0, 0.01, 0.2, 0.97, *still)
        case "unlit":  # no light and no infrared: noise on black
            return PictureMeasured(at, name, 19.0, 3.0, 0.004, 0.5, 0.9, *live)
        case "covered":
            return PictureMeasured(at, name, 17.0, 1.0, 0.001, 0.3, 0.98, *live)
        case "wall":  # a shutter: little detail, and hardly anything moves
            return PictureMeasured(at, name, 90.0, 9.0, 0.03, 1.0, 0.6, r.uniform(0, 0.05), live[1])
        case "infrared":
            return PictureMeasured(at, name, r.uniform(55, 80), 35.0, 0.09, 0.8, 0.3, *live)
    return PictureMeasured(at, name, r.uniform(90, 130), 48.0, 0.14, 14.0, 0.15, *live)
