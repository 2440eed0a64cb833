"""`camera capture`: one device's answers, redacted, in a file that can be sent to us."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import typer

from edge_agent.agent import locate
from edge_agent.agent.finder import credentials_of
from edge_agent.capture import lockout_file
from edge_agent.capture.bundle import READ_ME, Bundle, Step
from edge_agent.capture.lockout import Lockouts
from edge_agent.capture.lockout_file import LockoutFile
from edge_agent.clock import SystemClock
from edge_agent.config import Config
from edge_agent.errors import EdgeAgentError, SealError
from edge_agent.log import redact
from edge_agent.model import Credentials
from edge_agent.seal.keys import BoxKey

if TYPE_CHECKING:
    from edge_agent.capture.bundle_capture import Wish

PASSWORD_VARIABLE = "EDGE_AGENT_CAMERA_PASSWORD"  # noqa: S105


def login(user: str, password_file: Path | None) -> Credentials | None:
    """The password from the file, the environment, or asked for; never from the command line.

    Raises EdgeAgentError when the file cannot be read.
    """
    if not user:
        return None
    if password_file is not None:
        try:
            return Credentials(user, password_file.read_text(encoding="utf-8").strip())
        except OSError as error:
            raise EdgeAgentError(f"{password_file}: {error.strerror}") from error
    if (known := os.environ.get(PASSWORD_VARIABLE)) is not None:
        return Credentials(user, known)
    return Credentials(user, typer.prompt(f"Password of {user}", hide_input=True, default="", err=True))


@dataclass(frozen=True, slots=True)
class Result:
    """What was written. `complete` False: a step failed, and its sentence says why. `refused`: what is to be
    done about the password, when the device refused it.
    """

    path: Path
    size: int
    bundle: Bundle
    complete: bool
    refused: str = ""


def run(host: str, output: Path, wish: Wish, config: Config | None, *, quiet: bool = False) -> Result:
    """Ask the device, write the bundle. Raises EdgeAgentError when there is none; then no file is left.

    `host` is an address, a name, or a recorder of the configuration. With a readable configuration wrong
    passwords are counted together with the daemon's.
    """
    from edge_agent.capture import bundle, bundle_capture, bundle_finish, bundle_secrets

    logging.getLogger("edge_agent").setLevel(logging.CRITICAL)  # the steps say it all
    wish = _placed(host, wish, config)
    _try_place(output)
    with _lockouts(config) as gate:
        collected = bundle_capture.capture(wish, gate, SystemClock(), None if quiet else _tell)
        refused = _refusal(gate, wish)
    reached = [
        name for name in dict.fromkeys((wish.address, _split(host, 0)[0])) if not _is_recorder(name, config)
    ]
    clean = bundle_finish.finish(collected, bundle_secrets.of(wish.credentials), reached)
    packed = bundle.pack(clean)
    _write(output, packed)
    complete = all(step.passed for step in clean.manifest.steps)
    return Result(output, len(packed), clean, complete, refused)


def told(result: Result) -> dict[str, object]:
    """The result as JSON."""
    manifest = result.bundle.manifest
    return {
        "path": str(result.path),
        "bytes": result.size,
        "complete": result.complete,
        "refused": result.refused,
        "device": {"manufacturer": manifest.facts.manufacturer, "model": manifest.facts.model},
        "onvif_answers": len(manifest.web),
        "streams": len(manifest.streams),
        "redacted": dict(manifest.redacted),
        "failed": [{"step": s.name, "sentence": s.sentence} for s in manifest.steps if not s.passed],
    }


def summarise(result: Result) -> None:
    """What was written, what was replaced, what to do next."""
    manifest = result.bundle.manifest
    replaced = ", ".join(f"{kind} {count}" for kind, count in manifest.redacted.items()) or "nothing"
    print(
        f"{result.path}: {result.size >> 10} KB, {len(manifest.web)} ONVIF answers, {_streams(result.bundle)}"
    )
    print(f"replaced: {replaced}")
    if not result.complete:
        print("Not everything answered (FAILED above); the bundle is useful all the same.")
    if result.refused:
        print(result.refused)
    print(f"No picture is inside. Read '{READ_ME}' in it, then send us the file.")


def _streams(bundle: Bundle) -> str:
    played = sum(1 for stream in bundle.manifest.streams if stream.shape)
    return f"{played} of {len(bundle.manifest.streams)} streams played"


def _tell(step: Step) -> None:
    mark = "" if step.passed else "FAILED: "
    print(f"  {step.name}: {mark}{redact(step.sentence)}")


def _placed(host: str, wish: Wish, config: Config | None) -> Wish:
    """The wish with an address, and the configured recorder's login where none was given."""
    recorder = next((r for r in config.recorders if r.name == host), None) if config else None
    if recorder is None:
        name, port = _split(host, wish.http_port)
        return replace(wish, address=locate.resolve(name), http_port=port)
    assert config is not None
    place = locate.locate(recorder, config.discovery, Event())
    return replace(
        wish,
        address=place.address,
        http_port=place.port or wish.http_port,
        rtsp_port=recorder.rtsp_port or wish.rtsp_port,
        credentials=wish.credentials or credentials_of(recorder),
        brand=recorder.brand,
    )


def _split(host: str, http_port: int) -> tuple[str, int]:
    """`192.0.2.7:8000` names the port of ONVIF too; an IPv6 address, full of colons, does not."""
    name, colon, port = host.rpartition(":")
    if colon and ":" not in name and port.isascii() and port.isdigit() and 0 < int(port) <= 65535:
        return name, int(port)
    return host, http_port


def _refusal(gate: Lockouts, wish: Wish) -> str:
    if wish.credentials is None or not gate.standing(wish.address, wish.credentials).wrong:
        return ""
    return gate.sentence(wish.address, wish.credentials)


def _is_recorder(name: str, config: Config | None) -> bool:
    return config is not None and any(r.name == name for r in config.recorders)


@contextmanager
def _lockouts(config: Config | None) -> Iterator[Lockouts]:
    """The daemon's counts of wrong passwords if we may read and write them; else our own, for this run."""
    if config is None:
        yield Lockouts()
        return
    try:
        box = BoxKey(config.box_key.read_bytes())
    except (OSError, SealError):
        yield Lockouts()
        return
    kept = LockoutFile(config.state.directory / lockout_file.NAME, box.sign)
    try:
        yield kept.lockouts
    finally:
        if kept.due:
            try:
                kept.save()
            except OSError as error:
                print(f"  wrong passwords could not be written down ({error.strerror}); run this as root")


def _try_place(output: Path) -> None:
    """Before the device is asked: a read-only place shows at once, and nothing is left there."""
    handle, name = _temporary(output)
    os.close(handle)
    Path(name).unlink()


def _write(output: Path, packed: bytes) -> None:
    """The whole file under its name, or none. Raises EdgeAgentError."""
    handle, name = _temporary(output)
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(packed)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(output)
    except OSError as error:
        raise EdgeAgentError(
            f"{output}: the bundle of {len(packed) >> 10} KB cannot be written: {error.strerror}; nothing "
            "was left there"
        ) from error
    finally:
        draft.unlink(missing_ok=True)


def _temporary(output: Path) -> tuple[int, str]:
    if output.is_dir():
        raise EdgeAgentError(f"{output} is a directory; name a file in it, such as {output / 'bundle.zip'}")
    try:
        return tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.")
    except OSError as error:
        raise EdgeAgentError(f"{output.parent}: cannot be written to: {error.strerror}") from error
