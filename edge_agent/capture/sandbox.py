"""What the decode and compatibility processes give up before they see a picture: programs, files, dumps.

A camera chooses the bytes that FFmpeg and OpenCV parse here. The process holds no keys; with this it can
neither open the file of one, nor remove one, nor start or touch another process, nor (unless it must fetch a
stream) reach the network, even where the service runs without systemd's sandbox. Linux only.
"""

from __future__ import annotations

import ctypes
import platform
import resource
import struct
from collections.abc import Mapping

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 1, 38, 22
SECCOMP_MODE_FILTER = 2
SIGKILL = 9
EPERM = 1

# AUDIT_ARCH of linux/audit.h, and that architecture's numbers of the calls that are refused
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# listen, socketpair, execve, execveat; kill, tkill, tgkill, pidfd_send_signal, ptrace, process_vm_readv,
# process_vm_writev; io_uring_setup (its rings open sockets and files); then what changes files by their name:
# truncate, rename, mkdir, rmdir, link, unlink, symlink, unlinkat, renameat, linkat, symlinkat, renameat2
_ALWAYS = {
    "x86_64": (
        *(50, 53, 59, 322, 62, 200, 234, 424, 101, 310, 311, 425),
        *(76, 82, 83, 84, 86, 87, 88, 263, 264, 265, 266, 316),
    ),
    "aarch64": (
        *(201, 199, 221, 281, 129, 130, 131, 424, 117, 270, 271, 425),
        *(45, 34, 35, 38, 37, 36, 276),
    ),
}
_SOCKETS = {"x86_64": (41, 42, 49), "aarch64": (198, 203, 200)}  # socket, connect, bind
_FILES = {"x86_64": (2, 85, 257, 437), "aarch64": (56, 437)}  # open, creat, openat, openat2
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
    _limit(memory_bytes, files=3)  # the two pipes and nothing more, not even a key file
    return _refuse(_ALWAYS, _SOCKETS)


def enter_with_network(memory_bytes: int, sockets: int) -> bool:
    """As `enter`, but up to `sockets` sockets may be opened, and no file, whatever its name."""
    _limit(memory_bytes, files=3 + sockets)
    return _refuse(_ALWAYS, _FILES)


def close_network() -> bool:
    """From here on only the sockets that are open are used."""
    return _refuse(_SOCKETS)


def limit_cpu(seconds: int) -> None:
    """The kernel ends us if what comes next loops, even when the daemon is gone."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


def _limit(memory_bytes: int, files: int) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core would hold a picture
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))


def _refuse(*calls: Mapping[str, tuple[int, ...]]) -> bool:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        return False
    code = _filter(_ARCHITECTURES[machine], tuple(n for group in calls for n in group[machine]))
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
