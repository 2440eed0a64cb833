#!/bin/sh
# Says what is missing on this machine, and how to get it. Stops only for what nothing works without.
set -eu

PYTHON=${PYTHON:-python3}
PATH=$PATH:/usr/sbin:/sbin

fail() {
    echo "edge-agent: $1" >&2
    exit 1
}

"$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null ||
    fail "needs Python 3.11 to 3.13; '$PYTHON' is not: apt-get install python3, or make PYTHON=/path/to/python3.12"

"$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "Python cannot make virtual environments: apt-get install python3-venv"

want() { # program, package, what is lost without it
    command -v "$1" >/dev/null 2>&1 || echo "edge-agent: no $1 ($3): apt-get install $2" >&2
}

want mosquitto mosquitto "the demo falls back to an embedded broker without client certificates"
want ffmpeg ffmpeg "some tests are skipped, and the bench cannot compare"
want chromium chromium "the test that drives the page in a browser is skipped"
