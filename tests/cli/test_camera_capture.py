"""`camera capture` as a technician meets it: a bundle or one clear sentence, and never half a file."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import pytest

from edge_agent.capture import bundle
from edge_agent.capture.bundle import Bundle
from edge_agent.capture.bundle_capture import Wish
from edge_agent.cli import camera_capture
from edge_agent.demo.dvr.client import VirtualDvr
from edge_agent.errors import EdgeAgentError
from edge_agent.model import Credentials

PASSWORD = "W0rd of M0uth"
SMALL = {"main": "320x180@25", "sub": "160x90@12", "h265": "none"}


@pytest.fixture(scope="module")
def recorder() -> Iterator[VirtualDvr]:
    with VirtualDvr(1, host="127.0.0.86", password=PASSWORD, serial="7K0CAPTURE0042", **SMALL) as dvr:
        yield dvr


@pytest.fixture
def dvr(recorder: VirtualDvr) -> Iterator[VirtualDvr]:
    healthy = recorder.control.state()["device"]
    assert isinstance(healthy, dict)
    yield recorder
    recorder.control.set_device(**healthy)
    recorder.control.set_credentials("admin", PASSWORD)


def capture(
    dvr: VirtualDvr, output: Path, *more: str, password: str = PASSWORD
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edge_agent.cli", "camera", "capture", dvr.host, "-o", str(output)]
    command += [
        f"--port={dvr.http_port}",
        f"--rtsp-port={dvr.rtsp_port}",
        "--user=admin",
        "--seconds=0.5",
        *more,
    ]
    known = {**os.environ, camera_capture.PASSWORD_VARIABLE: password}
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=False, env=known)


def read(path: Path) -> Bundle:
    return bundle.unpack(path.read_bytes())


def told(dvr: VirtualDvr, output: Path, capsys: pytest.CaptureFixture[str], password: str = PASSWORD) -> str:
    """What the command prints; in this process and with little patience, to save time."""
    login = Credentials("admin", password)
    wish = Wish(dvr.host, 80, dvr.rtsp_port, login, 0.5, pulls=1, pull_s=1)
    camera_capture.summarise(camera_capture.run(f"{dvr.host}:{dvr.http_port}", output, wish, None))
    return capsys.readouterr().out


def test_a_bundle_is_written_and_what_was_replaced_is_told(
    dvr: VirtualDvr, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = told(dvr, tmp_path / "dvr.zip", capsys)
    assert "2 of 2 streams played" in said
    assert "replaced: address" in said
    assert "READ ME FIRST.txt" in said
    assert PASSWORD not in said
    assert [each.name for each in tmp_path.iterdir()] == ["dvr.zip"]
    taken = read(tmp_path / "dvr.zip")
    inside = b"".join((bundle.manifest_json(taken.manifest), *taken.files.values()))
    assert not any(secret.encode() in inside for secret in (PASSWORD, "7K0CAPTURE0042", dvr.host))
    asked = {e.operation for e in taken.manifest.web}
    assert {"GetProfiles", "CreatePullPointSubscription", "PullMessages", "Unsubscribe"} <= asked
    assert dvr.control.state()["pull_points"] == 0


def test_a_wrong_password_costs_two_attempts_and_the_bundle_still_tells_much(
    dvr: VirtualDvr, tmp_path: Path
) -> None:
    done = capture(dvr, tmp_path / "dvr.zip", "--json", password="guessed")
    assert done.returncode == 1, done.stdout + done.stderr
    said = json.loads(done.stdout)
    assert "No further attempt is made" in said["refused"]
    assert {"device", "services", "media"} <= {each["step"] for each in said["failed"]}
    assert dvr.control.state()["wrong_passwords"] == 2
    assert 401 in [e.status for e in read(tmp_path / "dvr.zip").manifest.web]


def test_without_onvif_the_usual_urls_are_taken(
    dvr: VirtualDvr, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dvr.control.set_device(onvif_off=True)
    said = told(dvr, tmp_path / "dvr.zip", capsys)
    assert "FAILED: 127.0.0.86 does not accept connections" in said
    assert "1 cameras by the usual URLs" in said
    taken = read(tmp_path / "dvr.zip").manifest
    assert (taken.web, [s.role for s in taken.streams]) == ((), ["main", "sub"])


def test_a_dead_host_is_one_sentence_and_no_file(dvr: VirtualDvr, tmp_path: Path) -> None:
    dvr.control.set_device(off=True)
    done = capture(dvr, tmp_path / "dvr.zip")
    assert done.returncode == 1
    assert "answers neither on port" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("output", ["missing/dvr.zip", "."])
def test_an_output_that_cannot_be_is_told_before_the_device_is_asked(
    output: str, dvr: VirtualDvr, tmp_path: Path
) -> None:
    asked = dvr.control.count("onvif_GetSystemDateAndTime")
    wish = Wish(dvr.host, dvr.http_port, dvr.rtsp_port)
    with pytest.raises(EdgeAgentError, match=r"cannot be written to|is a directory"):
        camera_capture.run(dvr.host, tmp_path / output, wish, None)
    assert dvr.control.count("onvif_GetSystemDateAndTime") == asked
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "dvr.zip").write_bytes(b"of yesterday")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EdgeAgentError, match="No space left on device; nothing was left there"):
        camera_capture._write(tmp_path / "dvr.zip", bytes(100))
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [("dvr.zip", b"of yesterday")]


@contextmanager
def hostile(body: bytes) -> Iterator[int]:
    """A web server that says the same to everybody."""
    with socket.create_server(("127.0.0.87", 0)) as server:
        server.settimeout(0.2)
        over: list[bool] = []

        def serve() -> None:
            while not over:
                try:
                    client, _ = server.accept()
                except TimeoutError:
                    continue
                with client:
                    client.settimeout(2)
                    with suppress(OSError):
                        client.recv(65536)
                        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/soap+xml\r\n")
                        client.sendall(b"Content-Length: %d\r\n\r\n" % len(body) + body)
                        client.shutdown(socket.SHUT_WR)
                        while client.recv(65536):
                            pass

        thread = Thread(target=serve)
        thread.start()
        try:
            yield int(server.getsockname()[1])
        finally:
            over.append(True)
            thread.join(10)


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        (b"<a>" + b"x" * 3_000_000, lambda n: n == 1 << 20),
        (b"<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", lambda n: n < 100),
        (b"<a>" * 20_000, lambda n: n == 60_000),
        (b"\xff\xfe\x00", lambda n: n == 3),
    ],
    ids=["huge", "dtd", "deep", "noise"],
)
def test_hostile_answers_are_kept_as_far_as_they_may_be(
    body: bytes, kept: Callable[[int], bool], tmp_path: Path
) -> None:
    with hostile(body) as port:
        wish = Wish("127.0.0.87", port, 9, seconds=0.5, budget_s=20, probe_s=0.1)
        result = camera_capture.run("127.0.0.87", tmp_path / "x.zip", wish, None, quiet=True)
    assert not result.complete
    taken = read(tmp_path / "x.zip")
    sizes = {len(taken.body(e.body)) for e in taken.manifest.web if e.body}
    assert sizes
    assert all(map(kept, sizes))
    noted = {e.note.partition(":")[0] for e in taken.manifest.web if e.body}
    assert noted == ({"truncated; too big"} if len(body) > 1 << 20 else {""})
