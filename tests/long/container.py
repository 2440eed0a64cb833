"""A Debian booted with systemd beside us: debootstrap once, then systemd-nspawn, on any host with root.

It shares the host's network, so that a recorder and a broker on the host's loopback are reachable, as the
shop's network would be. The whole container lives in a host memory cgroup of 1 GiB, a small box's RAM:
under cgroup v1 a unit's own MemoryMax= is accepted inside but not enforced. Needs root.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

MIRROR = "http://deb.debian.org/debian"
PACKAGES = "systemd,systemd-sysv,dbus,python3,python3-venv,procps"
BOX_RAM = 1024**3
BOOT_S = 60.0
STEP_S = 300.0


class ContainerError(Exception):
    """Something in or around the container failed; the text carries its last words."""


class Container:
    """One box. `boot` and `power_off` as often as wanted; the root file system stays between them."""

    def __init__(self, root: Path, name: str) -> None:
        self.root = root
        self.name = name
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._cgroup = Path("/sys/fs/cgroup/memory") / name

    def boot(self) -> None:
        """Return when systemd inside says that the system is up."""
        log = self.root.with_suffix(".log").open("ab")
        self._make_cgroup()
        self._nspawn = subprocess.Popen(
            [
                "systemd-nspawn",
                "--boot",
                "--quiet",
                "--register=no",
                "--keep-unit",
                f"--machine={self.name}",
                f"--directory={self.root}",
            ],
            # The host may have no systemd of its own, and version 1 control groups.
            env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "0"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=self._enter_cgroup,
        )
        log.close()
        wait_until("the container is up", BOOT_S, lambda: self.run("true", check=False).returncode == 0)
        self.run("systemctl", "is-system-running", "--wait", check=False)

    def run(self, *command: str, check: bool = True, timeout_s: float = STEP_S) -> Finished:
        """Run a command inside, as root, without a shell."""
        leader = self._leader()
        if leader is None:
            return subprocess.CompletedProcess(command, 255, "", "the container is not up")
        entering = ["nsenter", "--target", str(leader), "--mount", "--uts", "--ipc", "--pid"]
        done = subprocess.run(
            [*entering, "env", "-i", f"PATH={PATH}", "LC_ALL=C.UTF-8", *command],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if check and done.returncode != 0:
            raise ContainerError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()[-2000:]}")
        return done

    def shut_down(self) -> None:
        """An orderly end, as by the power button."""
        self.run("systemctl", "poweroff", check=False)
        self._await_end()

    def power_cut(self) -> None:
        """Everything inside dies at once."""
        leader = self._leader()
        if leader is not None:
            os.kill(leader, 9)  # PID 1 of its namespace: the kernel kills the rest
        self._await_end()

    def stop(self) -> None:
        if self._nspawn is not None:
            self.power_cut()
        if self._cgroup.is_dir():
            self._cgroup.rmdir()

    def peak_memory(self) -> int | None:
        """Most memory that the container ever held, page cache included; None without the cgroup."""
        try:
            return int((self._cgroup / "memory.max_usage_in_bytes").read_text())
        except OSError:
            return None

    def _leader(self) -> int | None:
        """The container's PID 1 as the host sees it: nspawn's child."""
        if self._nspawn is None or self._nspawn.poll() is not None:
            return None
        children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        booted = [int(c) for c in children if b"systemd" in Path(f"/proc/{c}/cmdline").read_bytes()]
        return booted[0] if booted else None

    def _await_end(self) -> None:
        assert self._nspawn is not None
        try:
            self._nspawn.wait(60)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait(10)
        self._nspawn = None

    def _make_cgroup(self) -> None:
        if self._cgroup.parent.is_dir():
            self._cgroup.mkdir(exist_ok=True)
            (self._cgroup / "memory.limit_in_bytes").write_text(str(BOX_RAM))

    def _enter_cgroup(self) -> None:
        if self._cgroup.is_dir():
            (self._cgroup / "cgroup.procs").write_text("0")


Finished = subprocess.CompletedProcess[str]
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def bare_debian(cache: Path, suite: str = "bookworm") -> Path:
    """A bare Debian's root file system, made once and kept under `cache`."""
    base = cache / suite
    if not (base / ".complete").exists():
        shutil.rmtree(base, ignore_errors=True)
        cache.mkdir(parents=True, exist_ok=True)
        command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, str(base), mirror()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
        if done.returncode != 0:
            raise ContainerError(f"debootstrap: {done.stdout[-2000:]}")
        (base / "etc/machine-id").write_text("")  # each box makes its own at first boot
        (base / ".complete").touch()
    return base


def copy_of(base: Path, root: Path) -> Path:
    """A box of its own from the bare Debian."""
    shutil.rmtree(root, ignore_errors=True)
    root.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", "--reflink=auto", str(base), str(root)], check=True, timeout=600)
    return root


def mirror() -> str:
    """The Debian mirror that this machine itself uses."""
    for path in (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list")):
        text = path.read_text() if path.exists() else ""
        found = re.search(r"^(?:URIs:|deb)\s+(?:\[[^]]*]\s+)?(\S+)", text, re.MULTILINE)
        if found:
            return found.group(1)
    return MIRROR


def wait_until(what: str, timeout_s: float, holds: Callable[[], bool]) -> float:
    """Seconds until `holds`; raises ContainerError that names `what` when it never does."""
    began = time.monotonic()
    while time.monotonic() - began < timeout_s:
        if holds():
            return time.monotonic() - began
        time.sleep(0.25)
    raise ContainerError(f"not within {timeout_s:g} s: {what}")
