"""`camera list | add | test | capture`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import tomlkit
import typer
from tomlkit.items import AoT

from edge_agent import config as configuration
from edge_agent.agent import roster
from edge_agent.agent.finder import endpoint
from edge_agent.cli.context import ConfigOption, JsonOption, config_path, load_config, print_json
from edge_agent.cli.local import ask
from edge_agent.errors import ConfigError, EdgeAgentError

app = typer.Typer(help="The site's cameras.", no_args_is_help=True)


@app.command("list")
def list_cameras(context: typer.Context, json: JsonOption = False, config: ConfigOption = None) -> None:
    """List the cameras of the running agent with their state."""
    cameras = ask(context, config, "status", {})["cameras"]
    if json:
        print_json(cameras)
        return
    for camera in cameras:
        doubt = "" if camera["verified"] else "  (label guessed from position: check it)"
        print(f"{camera['id']:10} {camera['state']:8} since {camera['since']}  {camera['name']}{doubt}")


@app.command("add")
def add(
    context: typer.Context,
    url: Annotated[str, typer.Argument(help="rtsp://user:password@host[:port]/path of the main stream.")],
    camera_id: Annotated[str, typer.Option("--id", help="Its id; default: the next free cam-NN.")] = "",
    name: Annotated[str, typer.Option(help="What people call it, e.g. 'Counter'.")] = "",
    sub_url: Annotated[str, typer.Option("--sub", help="URL of the small stream.")] = "",
    config: ConfigOption = None,
) -> None:
    """Add a camera by hand to the configuration; comments in the file stay."""
    path = config_path(context, config)
    known = configuration.load(path)
    elsewhere = {name for _, name in roster.load(known.state.directory / roster.NAME).ids}
    if camera_id in elsewhere - {c.id for c in known.cameras}:
        raise ConfigError([f"{camera_id} is a recorder's camera already; leave --id out for a free one"])
    camera_id = camera_id or _next_id(elsewhere | {c.id for c in known.cameras})
    for address in filter(None, (url, sub_url)):
        endpoint(camera_id, address)
    text = _with_camera(path.read_text(encoding="utf-8"), camera_id, name, url, sub_url)
    configuration.parse(tomlkit.parse(text).unwrap(), str(path))
    _replace(path, text)
    print(f"{camera_id} added to {path}; a running agent takes it over within seconds.")
    print(f"Does it work? edge-agent camera test {camera_id}")


def _next_id(taken: set[str]) -> str:
    return next(name for name in (f"cam-{n:02d}" for n in range(1, 1000)) if name not in taken)


def _with_camera(text: str, camera_id: str, name: str, url: str, sub_url: str) -> str:
    document = tomlkit.parse(text)
    cameras = document.setdefault("cameras", tomlkit.aot())
    if not isinstance(cameras, AoT):
        raise ConfigError(["cameras is not written as [[cameras]] tables; add the camera by hand"])
    table = tomlkit.table()
    given = {"id": camera_id, "name": name, "url": url, "sub_url": sub_url}
    for key, value in given.items():
        if value:
            table[key] = value
    cameras.append(table)
    return tomlkit.dumps(document)


def _replace(path: Path, text: str) -> None:
    """Swap the file in one step, keeping owner and mode: it holds a password."""
    before = path.stat()
    fresh = path.with_name(path.name + ".new")
    fresh.touch(mode=0o600)
    fresh.write_text(text, encoding="utf-8")
    fresh.chmod(before.st_mode)
    try:
        os.chown(fresh, before.st_uid, before.st_gid)
    except PermissionError as error:
        fresh.unlink()
        raise EdgeAgentError(f"{path}: cannot keep its owner; run this as root") from error
    fresh.replace(path)


@app.command("test")
def try_out(
    context: typer.Context,
    camera: Annotated[
        str, typer.Argument(help="A configured camera or recorder, or an rtsp:// URL. Default: all.")
    ] = "",
    seconds: Annotated[float, typer.Option(min=2, max=60, help="How long to wait for a picture.")] = 10.0,
    anew: Annotated[
        bool, typer.Option("--anew", help="Forget refused passwords: they were corrected at the recorder.")
    ] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Try a recorder or a camera step by step and say what works, what does not, and what to do."""
    from edge_agent.cli import probe

    written = probe.Written()
    say = written if json else probe.aloud
    if camera.startswith("rtsp://"):
        good = probe.stream(camera, endpoint("test", camera), seconds, say=say)
    else:
        good = probe.configured(load_config(context, config), camera, seconds, anew=anew, say=say)
    if json:
        print_json({"good": good, "steps": written.steps})
    raise typer.Exit(0 if good else 1)


@app.command("capture")
def capture(
    context: typer.Context,
    host: Annotated[
        str, typer.Argument(help="Address or name of the device, also HOST:PORT, or a configured recorder.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The bundle to write, e.g. cp-plus.zip.")],
    user: Annotated[str, typer.Option(help="User name at the device; the password is asked for.")] = "",
    password_file: Annotated[
        Path | None, typer.Option(help="File with the password, else EDGE_AGENT_CAMERA_PASSWORD.")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of ONVIF.")] = 80,
    rtsp_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of RTSP.")] = 554,
    seconds: Annotated[float, typer.Option(min=0.5, max=30, help="Seconds of packets per stream.")] = 3.0,
    minutes: Annotated[float, typer.Option(min=0.2, max=30, help="Give up after so long in total.")] = 5.0,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Write down what a device answers, without passwords, names or pictures, so that we can learn it.

    Only reads. At most two wrong passwords are sent. The bundle is a zip file; read it before you send it.
    """
    from edge_agent.capture.bundle_capture import Wish
    from edge_agent.cli import camera_capture

    wish = Wish(
        host,
        port,
        rtsp_port,
        camera_capture.login(user, password_file),
        seconds=seconds,
        budget_s=minutes * 60,
    )
    result = camera_capture.run(host, output, wish, _if_any(context, config), quiet=json)
    if json:
        print_json(camera_capture.told(result))
    else:
        camera_capture.summarise(result)
    raise typer.Exit(1 if result.refused else 0)


def _if_any(context: typer.Context, own: Path | None) -> configuration.Config | None:
    """A bundle is often taken before there is a configuration; one that was named must be good."""
    try:
        return load_config(context, own)
    except ConfigError:
        if own is not None:
            raise
        return None
