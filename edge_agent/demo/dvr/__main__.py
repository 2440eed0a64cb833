"""`python -m edge_agent.demo.dvr`: one recorder, one process. Prints one JSON line when ready."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edge_agent.demo.dvr import replay
from edge_agent.demo.dvr.brand import Brand
from edge_agent.demo.dvr.config import DvrConfig
from edge_agent.demo.dvr.control import ControlDesk
from edge_agent.demo.dvr.device import Device
from edge_agent.demo.dvr.media import Shape, default_cache
from edge_agent.errors import EdgeAgentError

_MAX_CHANNEL = 64
_MAX_CHANNELS = 16
_SHAPE = re.compile(r"(\d{2,4})x(\d{2,4})@(\d{1,2})$")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        config = _config(options)
        if options.replay is not None:
            recorded = replay.load(options.replay)
            config = replace(config, replay=recorded, inputs=recorded.inputs)
        asyncio.run(_serve(config, options.die_with_parent))
    except (EdgeAgentError, OSError) as error:
        sys.stderr.write(f"virtual DVR: {error}\n")
        return 1
    return 0


async def _serve(config: DvrConfig, die_with_parent: bool) -> None:
    stop = asyncio.Event()
    running = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        running.add_signal_handler(number, stop.set)
    watching = asyncio.create_task(_watch_parent(stop)) if die_with_parent else None
    device = Device(config)
    control = ControlDesk(device, config.control_port)
    try:
        await device.switch_on()
        await control.server.open()
        preloading = asyncio.create_task(device.recorder.library.preload())
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait((preloading, stopping), return_when=asyncio.FIRST_COMPLETED)
        if preloading.done():
            preloading.result()
            _announce(device, control)
        await stopping
    finally:
        device.switch_off()
        control.server.close()
        device.recorder.library.close()
        if watching is not None:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching


def _announce(device: Device, control: ControlDesk) -> None:
    ready = {
        "ready": True,
        "rtsp_port": device.rtsp.port,
        "http_port": device.http.port,
        "control_port": control.server.port,
        "channels": list(device.recorder.config.inputs),
        "endpoint_reference": device.endpoint,
    }
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()


async def _watch_parent(stop: asyncio.Event) -> None:
    parent = os.getppid()
    while os.getppid() == parent:
        await asyncio.sleep(0.5)
    stop.set()


def _config(options: argparse.Namespace) -> DvrConfig:
    main_shape = replace(options.main, kbps=options.main_kbps)
    h265 = (() if options.main_kbps else (4,)) if options.h265 is None else options.h265
    return DvrConfig(
        inputs=options.channels,
        brand=Brand(options.brand),
        host=options.host,
        rtsp_port=options.rtsp_port,
        http_port=options.http_port,
        control_port=options.control_port,
        interfaces=tuple(name for name in options.interface or ("lo",) if name != "none"),
        user=options.user,
        password=options.password,
        serial=options.serial,
        cache=options.cache,
        footage=options.footage,
        main=main_shape,
        sub=options.sub,
        h265=h265,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m edge_agent.demo.dvr", description="A virtual DVR: ONVIF and RTSP."
    )
    add = parser.add_argument
    add("--channels", type=_channels, default=(1, 2, 3, 4), help="how many (1-16), or which: 1,2,4")
    add("--brand", choices=[brand.value for brand in Brand], default=Brand.DAHUA.value)
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--rtsp-port", type=int, default=0, help="0 takes a free port, for this and the other ports")
    add("--http-port", type=int, default=0)
    add("--control-port", type=int, default=0, help="always on 127.0.0.1")
    add(
        "--interface",
        action="append",
        help="answers WS-Discovery on it; may be repeated; or none (default: lo)",
    )
    add("--user", default="admin")
    add("--password", default="admin123")
    add("--serial", default="4E01B7EPAZ00001", help="identity of the recorder; give each its own")
    add("--cache", type=Path, default=default_cache(), help="directory of the encoded loops")
    add("--footage", type=Path, help="directory of real clips, served in turn instead of the drawn scenes")
    add("--main", type=_shape, default=Shape(1280, 720, 25), metavar="WxH@FPS")
    add("--main-kbps", type=int, default=0, help="fill the main streams with sensor noise up to this rate")
    add("--sub", type=_shape, default=Shape(640, 360, 12), metavar="WxH@FPS")
    add("--h265", type=_numbers, help="channels with an H.265 main stream, or none (default: 4)")
    add("--replay", type=Path, metavar="BUNDLE", help="be the device of a bundle (edge-agent camera capture)")
    add("--die-with-parent", action="store_true", help="end when the process that started this one ends")
    return parser


def _channels(text: str) -> tuple[int, ...]:
    numbers = tuple(range(1, int(text) + 1)) if text.isdigit() else _numbers(text)
    if (
        not 1 <= len(numbers) <= _MAX_CHANNELS
        or len(set(numbers)) < len(numbers)
        or max(numbers) > _MAX_CHANNEL
    ):
        raise argparse.ArgumentTypeError(f"1 to {_MAX_CHANNELS} channels, numbered up to {_MAX_CHANNEL}")
    return numbers


def _numbers(text: str) -> tuple[int, ...]:
    if text == "none":
        return ()
    numbers = tuple(int(part) for part in text.split(",") if part)
    if not numbers or min(numbers) < 1:
        raise argparse.ArgumentTypeError("channels count from 1")
    return numbers


def _shape(text: str) -> Shape:
    found = _SHAPE.match(text)
    if found is None:
        raise argparse.ArgumentTypeError("a shape is WIDTHxHEIGHT@FPS, e.g. 1920x1080@25")
    width, height, fps = (int(part) for part in found.groups())
    if width % 2 or height % 2 or not fps:
        raise argparse.ArgumentTypeError(
            "width and height are even, and there is at least one picture a second"
        )
    return Shape(width, height, fps)


if __name__ == "__main__":
    sys.exit(main())
