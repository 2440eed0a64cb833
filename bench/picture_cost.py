"""What one look at a camera costs: decoding a keyframe as the night watch does, and measuring it.

    python -m bench.picture_cost

The virtual recorder's pictures, the least of many rounds, CPU time of the decode process's own code.
"""

from __future__ import annotations

import time

from bench.table import Row, table
from edge_agent.capture import decode
from edge_agent.demo.dvr import media
from edge_agent.demo.dvr.media import Shape
from edge_agent.model import Codec

ROUNDS = 40
EVERY_S = 10.0  # how often the night watch looks at each camera
SHAPES = (
    Shape(640, 360, 12),
    Shape(1280, 720, 15),
    Shape(1280, 720, 25, kbps=4000),
    Shape(1920, 1080, 25, kbps=4000),
)


def main() -> None:
    print(table("One keyframe, decoded and measured", ("picture", "CPU", "of a core"), map(row, SHAPES)))


def row(shape: Shape) -> Row:
    picture = keyframe(shape)
    least_s = min(looked_at(shape.codec, picture) for _ in range(ROUNDS))
    name = f"{shape.width} x {shape.height}, {len(picture) // 1024} KiB"
    return name, f"{least_s * 1e3:.1f} ms", f"{least_s / EVERY_S:.2%}"


def keyframe(shape: Shape) -> bytes:
    """The first keyframe of a camera's loop, with start codes."""
    loop = media.load(media.default_cache(), media.loop_key(1, False, shape, media.Variant.NORMAL))
    return b"".join(b"\x00\x00\x00\x01" + nal for nal in loop.units[0].nals)


def looked_at(codec: Codec, picture: bytes) -> float:
    began = time.process_time()
    decode.measures(decode.keyframe(codec, picture, skip="all"))
    return time.process_time() - began


if __name__ == "__main__":
    main()
