"""The virtual DVR from Python: `VirtualDvr` spawns one, `DvrControl` orders its faults.

A session-wide fixture with a shared cache costs a few seconds once, then about half a second a process:

    @pytest.fixture(scope="session")
    def dvr() -> Iterator[VirtualDvr]:
        with VirtualDvr(channels=2) as dvr:
            yield dvr
"""

from __future__ import annotations

import contextlib
import http.client
import json
import selectors
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from edge_agent.demo.dvr.brand import Brand, StreamName, stream_path
from edge_agent.demo.dvr.media import default_cache
from edge_agent.errors import DeviceError
from edge_agent.model import Credentials, Endpoint, Role

_ANSWER_S = 60.0  # a variant of a loop may have to be encoded first
_STOP_S = 10.0


@dataclass(frozen=True, slots=True)
class Sent:
    """64-byte pieces of what the recorder sent lately: by stream (`1/main`), and of snapshot JPEGs."""

    nals: Mapping[str, tuple[bytes, ...]]
    jpegs: tuple[bytes, ...]


class DvrControl:
    """Speaks to the control endpoint; every call ends within a minute. DeviceError says what was refused."""

    def __init__(self, port: int) -> None:
        self.port = port

    def set_channel(self, channel: int, **changes: object) -> None:
        """Fields of `faults.ChannelFaults`, e.g. `mode="slate"`. Returns when the change is in force."""
        self._ask("POST", f"/channel/{channel}", changes)

    def set_channels(self, **changes: object) -> None:
        """The same for every channel: the cameras' common supply."""
        self._ask("POST", "/channels", changes)

    def set_device(self, **changes: object) -> None:
        """Fields of `faults.DeviceFaults`, e.g. `off=True`."""
        self._ask("POST", "/device", changes)

    def set_credentials(self, user: str, password: str) -> None:
        self._ask("POST", "/credentials", {"user": user, "password": password})

    def act(self, act: str, channel: int | None = None, seconds: float = 0.0) -> None:
        """One of `faults.Act`, to one channel's sessions or to all; `seconds` is how long a reboot takes."""
        self._ask("POST", "/act", {"act": act, "channel": channel, "seconds": seconds})

    def state(self) -> dict[str, object]:
        """Faults in force, sessions, pull points, wrong passwords, counters (docs/virtual-dvr.md)."""
        return self._ask("GET", "/state")

    def sessions(self, channel: int | None = None) -> int:
        """RTSP sessions set up on a channel, or on all."""
        listed = self.state()["sessions"]
        assert isinstance(listed, list)
        return sum(1 for each in listed if channel in (None, each["channel"]))

    def count(self, name: str) -> int:
        """One of the counters, 0 if it never counted."""
        counts = self.state()["counts"]
        assert isinstance(counts, dict)
        return int(counts.get(name, 0))

    def sent(self) -> Sent:
        answer = self._ask("GET", "/sent")
        nals, jpegs = answer["nals"], answer["jpegs"]
        assert isinstance(nals, dict)
        assert isinstance(jpegs, list)
        streams = {name: tuple(bytes.fromhex(piece) for piece in pieces) for name, pieces in nals.items()}
        return Sent(streams, tuple(bytes.fromhex(piece) for piece in jpegs))

    def _ask(self, method: str, path: str, order: Mapping[str, object] | None = None) -> dict[str, object]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_ANSWER_S)
        with contextlib.closing(connection):
            try:
                connection.request(method, path, json.dumps(order) if order is not None else None)
                response = connection.getresponse()
                answer = json.loads(response.read())
            except (OSError, http.client.HTTPException, ValueError) as error:
                raise DeviceError(
                    "control", f"the virtual DVR's control port does not answer: {error}"
                ) from error
        if response.status != 200:
            raise DeviceError("control", str(answer.get("error")))
        return dict(answer)


class VirtualDvr:
    """A virtual DVR as a child process, ended with the `with` block or with this process.

    `channels` is how many or which. Further options are those of the command line, e.g. `main_kbps=4000`,
    `host="127.0.0.2"`, `serial="B"`.
    """

    def __init__(
        self,
        channels: int | Sequence[int] = 4,
        brand: str = "dahua",
        cache: Path | None = None,
        user: str = "admin",
        password: str = "admin123",  # noqa: S107
        start_s: float = 120.0,
        **options: object,
    ) -> None:
        listed = str(channels) if isinstance(channels, int) else "".join(f"{each}," for each in channels)
        self.brand = Brand(brand)
        self.credentials = Credentials(user, password)
        self.host = str(options.get("host", "127.0.0.1"))
        self.channels: tuple[int, ...] = ()
        self.rtsp_port = self.http_port = 0
        self.endpoint_reference = ""
        self.control = DvrControl(0)
        self._start_s = start_s
        named = {"channels": listed, "brand": brand, "user": user}
        named |= {"password": password, "cache": str(cache or default_cache())}
        named |= {name: str(value) for name, value in options.items()}
        self._arguments = [f"--{name.replace('_', '-')}={value}" for name, value in named.items()]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def onvif_url(self) -> str:
        return f"http://{self.host}:{self.http_port}/onvif/device_service"

    def rtsp_url(self, channel: int, role: Role = Role.MAIN) -> str:
        """Without credentials, unless the maker wants them in the path (XM)."""
        account = (self.credentials.username, self.credentials.password)
        path = stream_path(self.brand, StreamName(channel, role), *account)
        return f"rtsp://{self.host}:{self.rtsp_port}{path}"

    def endpoint(self, channel: int, role: Role = Role.MAIN) -> Endpoint:
        return Endpoint(self.rtsp_url(channel, role), self.host, self.rtsp_port, self.credentials)

    def start(self) -> None:
        """Waits until every loop is encoded. DeviceError when the process ends or takes too long."""
        command = [sys.executable, "-m", "edge_agent.demo.dvr", "--die-with-parent", *self._arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        try:
            ready = json.loads(self._first_line(self._process))
        except ValueError as error:
            self.stop()
            raise DeviceError("start", "the virtual DVR did not start: see its message on stderr") from error
        self.rtsp_port, self.http_port = int(ready["rtsp_port"]), int(ready["http_port"])
        self.channels = tuple(ready["channels"])
        self.endpoint_reference = str(ready["endpoint_reference"])
        self.control = DvrControl(int(ready["control_port"]))

    def stop(self) -> int:
        """The process's exit code; it is killed if it does not end by itself."""
        process = self._process
        if process is None:
            return 0
        process.terminate()
        try:
            code = process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if process.stdout is not None:
            process.stdout.close()
        self._process = None
        return code

    def __enter__(self) -> VirtualDvr:
        self.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    def _first_line(self, process: subprocess.Popen[bytes]) -> bytes:
        assert process.stdout is not None
        deadline = time.monotonic() + self._start_s
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            if not selector.select(max(0.0, deadline - time.monotonic())):
                return b""
        return process.stdout.readline()
