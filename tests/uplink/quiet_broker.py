"""A broker that speaks just enough MQTT 5 to be connected to; tests teach it what they need."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from threading import Thread

from edge_agent.demo.pki import Pki


class QuietBroker:
    """Speaks just enough MQTT 5 over TLS to accept a client, and then never acknowledges anything."""

    def __init__(self, pki: Pki, connack_properties: bytes = b"") -> None:
        identity = pki.server()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(identity.certificate, identity.key)
        self._properties = connack_properties
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.publishes: list[int] = []  # sizes
        self.pings = 0
        self._ends: list[socket.socket] = []
        self._guests: list[Thread] = []
        self._thread = Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._ends:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in (self._thread, *self._guests):
            thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            self._guests.append(Thread(target=self._welcome, args=(plain,), daemon=True))
            self._guests[-1].start()

    def _welcome(self, plain: socket.socket) -> None:
        with plain, suppress(OSError), self._context.wrap_socket(plain, server_side=True) as end:
            self._ends.append(end)
            self._serve(end)

    def _serve(self, end: ssl.SSLSocket) -> None:
        while head := end.recv(1):
            body = self._body(end)
            match head[0] >> 4:
                case 1:
                    self._answer(end, 0x20, bytes([0, 0, len(self._properties)]) + self._properties)
                case 8:
                    topics_asked = body.count(b"iccc/v1/")
                    self._answer(end, 0x90, body[:2] + b"\0" + bytes([1] * topics_asked))
                case 3:
                    self.publishes.append(len(body))
                    self._took(end, head[0], body)
                case 12:
                    self.pings += 1
                    self._answer(end, 0xD0, b"")

    def _took(self, end: ssl.SSLSocket, head: int, body: bytes) -> None:
        """A PUBLISH: what a broker of more words does with it."""

    def _answer(self, end: ssl.SSLSocket, kind: int, body: bytes) -> None:
        end.sendall(bytes([kind, len(body)]) + body)

    def _body(self, end: ssl.SSLSocket) -> bytes:
        length, shift = 0, 0
        while True:
            byte = self._exactly(end, 1)[0]
            length |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        return self._exactly(end, length)

    def _exactly(self, end: ssl.SSLSocket, count: int) -> bytes:
        body = b""
        while len(body) < count:
            piece = end.recv(count - len(body))
            if not piece:
                raise ConnectionError
            body += piece
        return body
