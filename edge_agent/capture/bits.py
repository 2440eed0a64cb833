"""Reading bit fields of parameter sets: fixed width and Exp-Golomb, bounded, never past the end."""

from __future__ import annotations

from edge_agent.errors import FormatError

LARGEST = 4096  # bytes; real parameter sets have tens, a few hundred with scaling lists


def unescape(nal: bytes) -> bytes:
    """The RBSP inside a NAL unit: emulation prevention bytes taken out (H.264 section 7.4.1)."""
    nal = nal[:LARGEST]
    parts = []
    start = 0
    while (at := nal.find(b"\x00\x00\x03", start)) >= 0:
        parts.append(nal[start : at + 2])
        start = at + 3
    parts.append(nal[start:])
    return b"".join(parts)


class BitReader:
    """Reads big-endian bits. Every read past the end raises FormatError."""

    def __init__(self, rbsp: bytes) -> None:
        rbsp = rbsp[:LARGEST]
        self._value = int.from_bytes(rbsp, "big")
        self._left = len(rbsp) * 8

    def u(self, bits: int) -> int:
        if bits > self._left:
            raise FormatError("parameter set ends early")
        self._left -= bits
        return (self._value >> self._left) & ((1 << bits) - 1)

    def flag(self) -> bool:
        return self.u(1) == 1

    def skip(self, bits: int) -> None:
        self.u(bits)

    def ue(self) -> int:
        """Unsigned Exp-Golomb (H.264 section 9.1); more than 32 bits is refused."""
        zeros = 0
        while not self.u(1):
            zeros += 1
            if zeros > 31:
                raise FormatError("Exp-Golomb code is too long")
        return (1 << zeros) - 1 + self.u(zeros)

    def se(self) -> int:
        code = self.ue()
        return (code + 1) // 2 if code & 1 else -(code // 2)
