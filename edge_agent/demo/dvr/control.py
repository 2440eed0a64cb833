"""The control endpoint: faults by JSON over HTTP on 127.0.0.1. Not part of what a recorder offers."""

from __future__ import annotations

import json

from edge_agent.demo.dvr.device import Device
from edge_agent.demo.dvr.faults import Act, to_json
from edge_agent.demo.dvr.web import HttpRequest, HttpResponse, HttpServer
from edge_agent.errors import EdgeAgentError

HOST = "127.0.0.1"


class ControlDesk:
    def __init__(self, device: Device, port: int) -> None:
        self.server = HttpServer(HOST, port, self.answer)
        self._device = device

    async def answer(self, request: HttpRequest) -> HttpResponse:
        try:
            order = json.loads(request.body) if request.body else {}
            if not isinstance(order, dict):
                raise ValueError("the body is a JSON object")
            return _json(200, await self._perform(request.method, request.path, order))
        except KeyError as error:
            return _json(404, {"error": f"no such thing: {error}"})
        except (ValueError, TypeError, OSError, EdgeAgentError) as error:
            return _json(400, {"error": str(error)})

    async def _perform(self, method: str, path: str, order: dict[str, object]) -> dict[str, object]:
        device = self._device
        match method, path.strip("/").split("/"):
            case "GET", ["state"]:
                return self._state()
            case "GET", ["sent"]:
                return self._sent()
            case "POST", ["channel", number]:
                await device.change_channel(int(number), order)
            case "POST", ["channels"]:
                await device.change_channels(order)
            case "POST", ["device"]:
                await device.change_device(order)
            case "POST", ["credentials"]:
                device.recorder.accounts.change(str(order["user"]), str(order["password"]))
            case "POST", ["act"]:
                channel, seconds = order.get("channel"), order.get("seconds", 0)
                await device.act(
                    Act(str(order["act"])),
                    channel if isinstance(channel, int) else None,
                    float(seconds) if isinstance(seconds, int | float) else 0.0,
                )
            case _:
                raise KeyError(path)
        return self._state()

    def _state(self) -> dict[str, object]:
        recorder = self._device.recorder
        sessions = [
            {"channel": each.name.channel, "role": each.name.role.value, "playing": each.playing}
            for each in recorder.sessions
            if each.name is not None
        ]
        return {
            "device": to_json(recorder.faults.device),
            "channels": {str(number): to_json(state) for number, state in recorder.faults.channels.items()},
            "started": recorder.started.isoformat(),
            "sessions": sessions,
            "pull_points": self._device.events.held,
            "wrong_passwords": recorder.accounts.wrong,
            "counts": dict(recorder.counts),
        }

    def _sent(self) -> dict[str, object]:
        recorder = self._device.recorder
        nals = {
            f"{name.channel}/{name.role.value}": [piece.hex() for piece in recorder.sent_pieces(name)]
            for name in recorder.config.streams()
        }
        return {"nals": nals, "jpegs": [piece.hex() for piece in recorder.jpeg_pieces()]}


def _json(status: int, body: dict[str, object]) -> HttpResponse:
    return HttpResponse(status, json.dumps(body).encode(), "application/json")
