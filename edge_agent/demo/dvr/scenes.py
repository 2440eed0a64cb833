"""What the virtual cameras see: a drawn petrol pump, from four corners, with something that moves."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Colour = tuple[int, int, int]  # blue, green, red: OpenCV's order

_WIDE, _HIGH = 1280, 720  # scenes are drawn at this size and scaled once
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_PLACES = ("FORECOURT", "PUMP ISLAND", "ENTRY GATE", "SHOP")
_LIVERY: tuple[Colour, ...] = ((46, 74, 200), (150, 96, 28), (62, 130, 44), (36, 142, 224))
_PAINT: tuple[Colour, ...] = ((190, 188, 184), (58, 48, 158), (128, 84, 40), (52, 52, 56), (64, 132, 168))


@dataclass(frozen=True, slots=True)
class Scene:
    """One channel's view. `picture(i, n)` is periodic: picture n is picture 0, so the loop has no jump."""

    channel: int
    width: int
    height: int
    background: Picture

    @property
    def title(self) -> str:
        return title(self.channel)

    def picture(self, index: int, length: int) -> Picture:
        frame = self.background.copy()
        _MOVERS[_place(self.channel)](frame, index / length, self.channel)
        scale = self.width / _WIDE
        _text(frame, self.title, (int(24 * scale), int(self.height - 24 * scale)), scale)
        _text(frame, f"{index:05d}", (int(self.width - 170 * scale), int(52 * scale)), scale)
        return frame


def scene(channel: int, width: int, height: int) -> Scene:
    canvas = np.zeros((_HIGH, _WIDE, 3), np.uint8)
    _BACKGROUNDS[_place(channel)](canvas, channel)
    _grain(canvas, channel)
    background = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA)
    return Scene(channel, width, height, np.asarray(background, np.uint8))


def title(channel: int) -> str:
    return f"CAM {channel}  {_PLACES[_place(channel)]}"


def slate(channel: int, width: int, height: int) -> Picture:
    """The still picture of most recorders when an input has no signal."""
    frame = np.full((height, width, 3), (92, 44, 28), np.uint8)
    scale = width / _WIDE
    _text(frame, "NO VIDEO", (int(width / 2 - 200 * scale), int(height / 2)), scale * 2.2)
    return _captioned(frame, channel)


def black(channel: int, width: int, height: int) -> Picture:
    """A covered lens, or a camera whose sensor has died: the recorder's caption on nothing."""
    return _captioned(np.full((height, width, 3), (6, 6, 6), np.uint8), channel)


def frozen(channel: int, width: int, height: int) -> Picture:
    """The scene as it was, for ever: a recorder whose input has hung."""
    return scene(channel, width, height).picture(60, 251)


def clocked(still: Picture, second: int) -> Picture:
    """The still picture with the recorder's running clock drawn into it."""
    frame = still.copy()
    scale = frame.shape[1] / _WIDE
    _text(frame, f"2026-11-22 02:14:{second % 60:02d}", (int(24 * scale), int(52 * scale)), scale)
    return frame


def _captioned(frame: Picture, channel: int) -> Picture:
    scale = frame.shape[1] / _WIDE
    _text(frame, f"CAM {channel}", (int(24 * scale), int(frame.shape[0] - 24 * scale)), scale)
    return frame


def _place(channel: int) -> int:
    return (channel - 1) % len(_PLACES)


def _forecourt(canvas: Picture, channel: int) -> None:
    _sky(canvas, 330)
    _fill(canvas, [(0, 330), (1280, 330), (1280, 720), (0, 720)], (104, 106, 108))
    _fill(canvas, [(60, 250), (330, 250), (330, 410), (60, 410)], (150, 172, 190))
    _fill(canvas, [(90, 290), (300, 290), (300, 385), (90, 385)], (92, 78, 58))
    livery = _LIVERY[(channel // 4) % len(_LIVERY)]
    _fill(canvas, [(360, 110), (1240, 70), (1240, 150), (360, 172)], livery)
    _fill(canvas, [(360, 172), (1240, 150), (1240, 166), (360, 184)], (236, 236, 232))
    for x in (430, 800, 1150):
        _fill(canvas, [(x, 160), (x + 26, 160), (x + 26, 470), (x, 470)], (198, 200, 202))
    for x in (520, 900):
        _pump(canvas, x, 330, livery, 1.0)
    for x in range(40, 1280, 180):
        _fill(canvas, [(x, 640), (x + 90, 640), (x + 80, 654), (x - 10, 654)], (196, 204, 206))


def _island(canvas: Picture, channel: int) -> None:
    _sky(canvas, 280)
    livery = _LIVERY[(channel // 4 + 1) % len(_LIVERY)]
    _fill(canvas, [(0, 0), (1280, 0), (1280, 96), (0, 128)], livery)
    _fill(canvas, [(0, 270), (1280, 250), (1280, 720), (0, 720)], (112, 114, 118))
    _fill(canvas, [(140, 470), (1180, 450), (1240, 540), (80, 560)], (164, 168, 170))
    for x in (260, 560, 860):
        _pump(canvas, x, 230, livery, 1.7)
    _fill(canvas, [(60, 90), (104, 90), (104, 540), (60, 540)], (190, 192, 196))
    _fill(canvas, [(1190, 80), (1234, 80), (1234, 530), (1190, 530)], (190, 192, 196))


def _gate(canvas: Picture, channel: int) -> None:
    _sky(canvas, 280)
    _fill(canvas, [(0, 280), (1280, 260), (1280, 720), (0, 720)], (94, 98, 100))
    _fill(canvas, [(0, 250), (420, 270), (420, 360), (0, 400)], (70, 112, 78))
    _fill(canvas, [(900, 260), (1280, 240), (1280, 380), (900, 350)], (66, 104, 72))
    _fill(canvas, [(980, 90), (1180, 90), (1180, 250), (980, 250)], _LIVERY[(channel // 4) % len(_LIVERY)])
    _fill(canvas, [(1060, 250), (1100, 250), (1100, 420), (1060, 420)], (120, 120, 124))
    _text(canvas, "PETROL", (1002, 150), 1.1)
    _text(canvas, "DIESEL", (1006, 210), 1.1)
    for x in range(0, 1280, 160):
        _fill(canvas, [(x, 470), (x + 100, 466), (x + 96, 480), (x - 4, 484)], (214, 220, 222))


def _shop(canvas: Picture, channel: int) -> None:
    _fill(canvas, [(0, 0), (1280, 0), (1280, 420), (0, 420)], (178, 196, 206))
    _fill(canvas, [(0, 420), (1280, 420), (1280, 720), (0, 720)], (128, 138, 146))
    for shelf in range(3):
        y = 120 + 90 * shelf
        _fill(canvas, [(90, y + 60), (700, y + 60), (700, y + 72), (90, y + 72)], (84, 104, 122))
        for item in range(14):
            colour = _PAINT[(item * 3 + shelf + channel) % len(_PAINT)]
            x = 104 + 42 * item
            _fill(canvas, [(x, y), (x + 30, y), (x + 30, y + 60), (x, y + 60)], colour)
    _fill(canvas, [(820, 380), (1240, 380), (1240, 600), (820, 600)], (74, 96, 124))
    _fill(canvas, [(800, 356), (1260, 356), (1260, 384), (800, 384)], (108, 132, 160))
    _fill(canvas, [(920, 270), (1040, 270), (1040, 356), (920, 356)], (64, 60, 58))


def _sky(canvas: Picture, horizon: int) -> None:
    ramp = np.linspace(0, 1, horizon)[:, None, None]
    top, bottom = np.array((206, 170, 128)), np.array((226, 220, 208))
    canvas[:horizon] = (top + (bottom - top) * ramp).astype(np.uint8)


def _pump(canvas: Picture, x: int, y: int, livery: Colour, size: float) -> None:
    def box(left: float, up: float, right: float, down: float, colour: Colour) -> None:
        corners = [(left, up), (right, up), (right, down), (left, down)]
        _fill(canvas, [(int(x + a * size), int(y + b * size)) for a, b in corners], colour)

    box(0, 0, 92, 168, (226, 228, 230))
    box(0, 0, 92, 26, livery)
    box(14, 40, 78, 78, (48, 52, 44))
    box(20, 48, 60, 56, (120, 214, 150))
    box(92, 60, 102, 120, (40, 40, 42))
    box(-10, 168, 102, 182, (150, 154, 158))


def _car(frame: Picture, phase: float, channel: int) -> None:
    """Drives through and comes back on the other side; out of the picture at the loop's seam."""
    scale = frame.shape[1] / _WIDE
    direction = 1 if channel % 2 else -1
    x = -340 + (_WIDE + 680) * (phase if direction > 0 else 1 - phase)
    y = 560 + 12 * math.sin(phase * 2 * math.pi)
    paint = _PAINT[(channel + channel // 4) % len(_PAINT)]

    def part(points: list[tuple[float, float]], colour: Colour) -> None:
        _fill(frame, [(int((x + direction * a) * scale), int((y + b) * scale)) for a, b in points], colour)

    part([(-160, 62), (170, 62), (170, 70), (-160, 70)], (64, 66, 68))
    part([(-160, 0), (-110, -6), (-70, -62), (60, -62), (104, -6), (160, 6), (164, 52), (-164, 52)], paint)
    part([(-96, -8), (-64, -52), (-8, -52), (-8, -8)], (88, 76, 60))
    part([(4, -8), (4, -52), (52, -52), (86, -8)], (88, 76, 60))
    part([(150, 12), (164, 14), (164, 26), (150, 24)], (196, 236, 248))
    for wheel in (-96, 100):
        centre = (int((x + direction * wheel) * scale), int((y + 50) * scale))
        cv2.circle(frame, centre, max(1, int(30 * scale)), (34, 34, 36), -1, cv2.LINE_AA)
        cv2.circle(frame, centre, max(1, int(13 * scale)), (170, 172, 174), -1, cv2.LINE_AA)


def _person(frame: Picture, phase: float, channel: int) -> None:
    scale = frame.shape[1] / _WIDE
    x = 460 + 320 * math.sin(phase * 2 * math.pi)
    step = 26 * math.sin(phase * 44 * math.pi)

    def part(points: list[tuple[float, float]], colour: Colour) -> None:
        _fill(frame, [(int((x + a) * scale), int((330 + b) * scale)) for a, b in points], colour)

    part([(-26, 190), (0, 190), (-6 + step, 330), (-30 + step, 330)], (70, 58, 50))
    part([(0, 190), (26, 190), (30 - step, 330), (6 - step, 330)], (62, 52, 46))
    part([(-40, 40), (40, 40), (34, 200), (-34, 200)], _PAINT[(channel // 4 + 1) % len(_PAINT)])
    cv2.circle(
        frame, (int(x * scale), int(340 * scale)), max(1, int(30 * scale)), (112, 142, 188), -1, cv2.LINE_AA
    )
    cv2.ellipse(
        frame,
        (int(x * scale), int(328 * scale)),
        (int(31 * scale), int(22 * scale)),
        0,
        180,
        360,
        (36, 34, 32),
        -1,
    )


def _grain(canvas: Picture, channel: int) -> None:
    noise = np.random.default_rng(channel).normal(0, 5, canvas.shape[:2])[..., None]
    np.copyto(canvas, np.clip(canvas + noise, 0, 255).astype(np.uint8))


def _fill(canvas: Picture, points: list[tuple[int, int]], colour: Colour) -> None:
    cv2.fillPoly(canvas, [np.array(points, np.int32)], colour, cv2.LINE_AA)


def _text(canvas: Picture, text: str, at: tuple[int, int], scale: float) -> None:
    thick = max(1, round(2 * scale))
    shadow = at[0] + thick, at[1] + thick
    cv2.putText(canvas, text, shadow, _FONT, scale, (20, 20, 20), thick, cv2.LINE_AA)
    cv2.putText(canvas, text, at, _FONT, scale, (250, 250, 250), thick, cv2.LINE_AA)


_BACKGROUNDS: tuple[Callable[[Picture, int], None], ...] = (_forecourt, _island, _gate, _shop)
_MOVERS: tuple[Callable[[Picture, float, int], None], ...] = (_car, _car, _car, _person)
