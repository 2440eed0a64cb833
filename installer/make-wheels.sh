#!/bin/sh
# Makes a folder from which installer/install.sh --wheels installs without network: run it on a machine
# with network, of the same kind as the box (architecture and Python version), and carry the folder over.
set -eu

SOURCE=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
OUT=${1:-}

if [ -z "$OUT" ] || [ "$OUT" = --help ]; then
    echo "Usage: make-wheels.sh DIR    (PYTHON=python3.12 chooses another Python)"
    [ "$OUT" = --help ] && exit 0 || exit 1
fi

mkdir -p "$OUT"
OUT=$(CDPATH='' cd -- "$OUT" && pwd)
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1

"${PYTHON:-python3}" -m venv "$WORK/venv"
"$WORK/venv/bin/pip" install --quiet --require-hashes -r "$SOURCE/requirements/build.lock"
"$WORK/venv/bin/pip" wheel --quiet --no-build-isolation --require-hashes --wheel-dir "$OUT" \
    -r "$SOURCE/requirements/agent.lock"
cd "$SOURCE"
cp -r edge_agent pyproject.toml README.md LICENSE "$WORK"
"$WORK/venv/bin/pip" wheel --quiet --no-build-isolation --no-deps --wheel-dir "$OUT" "$WORK"
cp -r docs "$OUT"
cp installer/install.sh installer/edge-agent.toml systemd/edge-agent.service "$OUT"
cd "$OUT"
find . -type f ! -name SHA256SUMS -exec sha256sum {} + | sort -k 2 >SHA256SUMS
echo "$OUT: $(find . -name '*.whl' | wc -l) wheels. On the box: sudo sh install.sh --wheels ."
