"""Runs inside the service's own sandbox and writes what it found as JSON to the file it is given.

The exposure score reads the unit file only; this asks the kernel. Imported by nothing.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path


def main(output: str) -> None:
    found = {check.__name__: _outcome(check) for check in (*MUST_FAIL, *MUST_WORK)}
    found["failed_to_fail"] = sorted(c.__name__ for c in MUST_FAIL if found[c.__name__] == "works")
    found["failed_to_work"] = sorted(c.__name__ for c in MUST_WORK if found[c.__name__] != "works")
    Path(output).write_text(json.dumps(found, indent=1))


def write_etc() -> None:
    Path("/etc/edge-agent-was-here").touch()


def write_own_program() -> None:
    (Path(sys.prefix) / "bin/edge-agent-was-here").touch()


def write_own_configuration() -> None:
    with Path("/etc/edge-agent/edge-agent.toml").open("a"):
        pass


def map_writable_executable() -> None:
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)


def hold_a_capability() -> None:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    if int(status["CapEff"], 16) == 0 and int(status["CapBnd"], 16) == 0:
        raise PermissionError("none")


def gain_privileges() -> None:
    if ctypes.CDLL(None).prctl(39, 0, 0, 0, 0) == 1:  # PR_GET_NO_NEW_PRIVS
        raise PermissionError("no_new_privs")


def become_root() -> None:
    os.setuid(0)


def mount() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", b"/tmp", b"tmpfs", 0, None) != 0:
        raise OSError(ctypes.get_errno(), "mount")


def make_namespace() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x10000000) != 0:  # CLONE_NEWUSER
        raise OSError(ctypes.get_errno(), "unshare")


def open_packet_socket() -> None:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()


def set_the_clock() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.settimeofday(ctypes.create_string_buffer(struct.pack("qq", 0, 0)), None) != 0:
        raise OSError(ctypes.get_errno(), "settimeofday")


def see_homes() -> None:
    if not list(Path("/root").iterdir()):
        raise PermissionError("empty")


def see_other_processes() -> None:
    if not Path("/proc/1/cmdline").exists():
        raise PermissionError("hidden")


def see_block_devices() -> None:
    if not [d for d in Path("/dev").iterdir() if d.is_block_device()]:
        raise PermissionError("none")


def write_own_state() -> None:
    path = Path("/var/lib/edge-agent/probe")
    path.write_bytes(b"x")
    path.unlink()


def read_own_configuration() -> None:
    Path("/etc/edge-agent/edge-agent.toml").read_bytes()


def join_multicast() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        group = socket.inet_aton("239.255.255.250") + socket.inet_aton("127.0.0.1")
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)


def list_interfaces() -> None:
    assert socket.if_nameindex()


def read_host_facts() -> None:
    from edge_agent.clock import boot_id
    from edge_agent.host.facts import HostProbe

    assert HostProbe(Path("/var/lib/edge-agent")).read(1.0).memory_available_bytes > 0
    assert len(boot_id()) == 16


def ask_for_clock_trust() -> None:
    from edge_agent.host.timesync import ClockWatch

    ClockWatch()()


def encode_and_decode_pictures() -> None:
    import av  # noqa: F401
    import cv2
    import numpy as np

    picture = np.random.default_rng(1).integers(0, 255, (180, 320, 3), np.uint8)
    ok, jpeg = cv2.imencode(".jpg", picture)
    assert ok
    assert cv2.imdecode(jpeg, cv2.IMREAD_COLOR).shape == picture.shape


def encrypt() -> None:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    AESGCM(bytes(32)).encrypt(bytes(12), b"x", None)


def parse_xml() -> None:
    from lxml import etree

    etree.fromstring("<a/>")


MUST_FAIL: tuple[Callable[[], None], ...] = (
    write_etc,
    write_own_program,
    write_own_configuration,
    map_writable_executable,
    hold_a_capability,
    gain_privileges,
    become_root,
    mount,
    make_namespace,
    open_packet_socket,
    set_the_clock,
    see_homes,
    see_other_processes,
    see_block_devices,
)
MUST_WORK: tuple[Callable[[], None], ...] = (
    write_own_state,
    read_own_configuration,
    join_multicast,
    list_interfaces,
    read_host_facts,
    ask_for_clock_trust,
    encode_and_decode_pictures,
    encrypt,
    parse_xml,
)


def _outcome(check: Callable[[], None]) -> str:
    try:
        check()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "works"


if __name__ == "__main__":
    main(sys.argv[1])
