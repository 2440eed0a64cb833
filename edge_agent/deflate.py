"""Small JSON made smaller on the wire: zlib (RFC 1950) with a preset dictionary. Pure.

A heartbeat and its answer repeat the same words every minute, on links that are paid by the megabyte; alone
they are too short for deflate to learn them. A reader tells the two forms apart by the first byte: `{` is
JSON as it is, 0x58 a zlib stream whose header names the dictionary by its Adler-32. The dictionary is part
of the protocol: another one is another protocol version.
"""

from __future__ import annotations

import zlib

from edge_agent.errors import FormatError

MAX_EXPANDED = 128 * 1024
MARK = b"X"  # the first byte of a zlib stream with this window
WINDOW_BITS = 13  # 8 KB holds the dictionary and a heartbeat; less memory than the usual 32 KB

# What comes most often stands last: the nearest match is the cheapest.
DICTIONARY = (
    b'"offset_ms":"undervoltage":true"counters":{"fetch":{"first":,"count":"cause":"main: no packets for '
    b'5 s; sub: no packets for 5 s"verdict":"camera_lost","confidence":"state":"unusable"suspect"dark"'
    b'"due":false,"ring":{"used_bytes":,"budget_bytes":,"oldest":"2026-01-01T00:00:00.000Z","dropped":'
    b'"faults":},"host":{"uptime_s":,"cpu_percent":,"memory_mb":,"temperature_c":,"disk_free_bytes":}'
    b'{"cameras":[{"id":"cam-01","state":"up","since":"2026-01-01T00:00:00.000Z"},{"id":"cam-02",'
    b'"state":"up","since":"2026-01-01T00:00:00.000Z"}],"clock":{"trust":2},'
    b'{"v":1,"ts":179,"witness":"\\n\xe2\x80\x94 iccc/witness =\\n\xe2\x80\x94 iccc/mirror =\\n"}'
    b'{"v":1,"type":"heartbeat","id":"01M8","session":"01M8","seq":1,"ts":"2026-11-01T00:00:00.000Z",'
    b'"mono":1,"data":{"ledger":{"first":,"leaves":["{\\"v\\":1,\\"type\\":\\"mark\\",\\"ts\\":179,'
    b'\\"up\\":,\\"clk\\":2,\\"boot\\":\\"\\",\\"data\\":{\\"run\\":,\\"seg\\":[,],\\"cam\\":'
    b'\\"uuuuuuuu\\",\\"bcn\\":\\"\\",\\"tips\\":\\"\\"}}"],"checkpoint":"\\n=\\n\\n\xe2\x80\x94 =\\n"}}}'
)


def squeeze(payload: bytes) -> bytes:
    """The shorter of both forms. `payload` is JSON that begins with `{`."""
    packer = zlib.compressobj(9, zlib.DEFLATED, WINDOW_BITS, zdict=DICTIONARY)
    packed = packer.compress(payload) + packer.flush()
    return packed if len(packed) < len(payload) else payload


def expand(payload: bytes) -> bytes:
    """The JSON text of either form. Raises FormatError for a damaged stream and for a bomb."""
    if not payload.startswith(MARK):
        return payload
    unpacker = zlib.decompressobj(WINDOW_BITS, zdict=DICTIONARY)
    try:
        text = unpacker.decompress(payload, MAX_EXPANDED)
    except zlib.error as error:
        raise FormatError(f"not a deflated message: {error}") from error
    if not unpacker.eof or unpacker.unused_data:
        raise FormatError("a deflated message is cut short, too long, or followed by more")
    return text
