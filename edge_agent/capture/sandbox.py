"""What the decode process gives up before it sees a picture: sockets, programs, files, core dumps.

A camera chooses the bytes that FFmpeg and OpenCV parse here. The process holds no keys; with this it can
neither open the file of one, nor reach the network, nor start or touch another process, even where the
service runs without systemd's sandbox. Linux only.
"""

from __future__ import annotations

import ctypes
import platform
import resource
import struct

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 1, 38, 22
SECCOMP_MODE_FILTER = 2
SIGKILL = 9
EPERM = 1

# AUDIT_ARCH of linux/audit.h, and that architecture's numbers of: socket, connect, bind, listen, socketpair,
# execve, execveat, kill, ptrace, process_vm_readv, process_vm_writev, io_uring_setup (its rings open sockets)
_REFUSED = {
    "x86_64": (0xC000003E, (41, 42, 49, 50, 53, 59, 322, 62, 101, 310, 311, 425)),
    "aarch64": (0xC00000B7, (198, 203, 200, 201, 199, 221, 281, 129, 117, 270, 271, 425)),
}
_X32_CALLS = 0x40000000  # x86-64 knows every call a second time from here on
# classic BPF: load word, jump if equal, jump if at least, return
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | EPERM


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def enter(memory_bytes: int) -> bool:
    """Give up everything that decoding does not need; for the life of the process.

    Returns whether the system call filter is in force: an unknown architecture or a kernel without seccomp
    leaves only the limits.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold a picture
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, 3))  # the two pipes and nothing more, not even a key file
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return _refuse_system_calls(libc)


def _refuse_system_calls(libc: ctypes.CDLL) -> bool:
    known = _REFUSED.get(platform.machine())
    if known is None:
        return False
    code = _filter(*known)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    return bool(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def _filter(architecture: int, refused: tuple[int, ...]) -> bytes:
    """Refuse the listed calls and every call of a foreign architecture (the 32-bit gates), allow the rest."""
    count = len(refused)
    program = [
        _instruction(_LOAD, 0, 0, 4),  # seccomp_data.arch
        _instruction(_JUMP_EQUAL, 0, count + 3, architecture),
        _instruction(_LOAD, 0, 0, 0),  # seccomp_data.nr
        _instruction(_JUMP_AT_LEAST, count + 1, 0, _X32_CALLS),
        *(_instruction(_JUMP_EQUAL, count - i, 0, number) for i, number in enumerate(refused)),
        _instruction(_RETURN, 0, 0, _ALLOW),
        _instruction(_RETURN, 0, 0, _REFUSE),
    ]
    return b"".join(program)


def _instruction(code: int, if_true: int, if_false: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
