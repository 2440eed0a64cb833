"""The installer's words and refusals; the installation itself is tried in a container by `make long`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ("installer/install.sh", "installer/make-wheels.sh", "tools/preflight.sh")


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def _powerless(*options: str) -> subprocess.CompletedProcess[str]:
    """Run the installer as nobody, also when root runs the tests: a bug in it must not install anything."""
    nobody = 65534 if os.geteuid() == 0 else None
    return subprocess.run(
        ["sh", "-s", "--", *options],
        input=(ROOT / SCRIPTS[0]).read_text(),  # by pipe: nobody may be unable to read this clone
        user=nobody,
        group=nobody,
        extra_groups=[] if nobody else None,
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_are_plain_posix_shell(script: str) -> None:
    assert (ROOT / script).read_text().startswith("#!/bin/sh\n")
    done = _run("sh", "-n", str(ROOT / script))
    assert done.returncode == 0, done.stderr


def test_help_names_every_option() -> None:
    said = _run("sh", str(ROOT / SCRIPTS[0]), "--help").stdout
    for option in ("--wheels", "--config", "--allow", "--no-start", "--uninstall", "--purge", "--source"):
        assert option in said


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--frobnicate"], "unknown option --frobnicate"),
        (["--wheels"], "--wheels needs a value"),
        (["--purge"], "--purge goes with --uninstall"),
    ],
)
def test_a_mistyped_call_is_refused_in_one_line(options: list[str], says: str) -> None:
    done = _powerless(*options)
    assert done.returncode == 1
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("options", [[], ["--uninstall"]])
def test_someone_else_than_root_is_sent_to_sudo(options: list[str]) -> None:
    done = _powerless(*options)
    assert done.returncode == 1
    assert "sudo" in done.stderr


def test_nothing_foreign_is_fetched_and_run() -> None:
    for script in SCRIPTS:
        text = (ROOT / script).read_text()
        assert "curl" not in text
        assert "wget" not in text


def test_preflight_names_the_package_that_helps(tmp_path: Path) -> None:
    fake = tmp_path / "python3"
    fake.write_text("#!/bin/sh\ncase $2 in *ensurepip*) exit 1 ;; esac\n")
    fake.chmod(0o755)
    environment = {"PATH": "/usr/bin:/bin", "PYTHON": str(fake)}
    done = subprocess.run(
        ["sh", str(ROOT / SCRIPTS[2])],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "apt-get install python3-venv" in done.stderr
