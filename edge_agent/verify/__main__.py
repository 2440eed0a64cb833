"""`python -m edge_agent.verify FILE [--trust KEYS] [--json]`: the verifier on its own."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from edge_agent.verify.check import verify
from edge_agent.verify.report import UNUSABLE, Unusable
from edge_agent.verify.text import lines
from edge_agent.verify.trust import read_trust


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m edge_agent.verify", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--trust", type=Path, help="keys that you have from elsewhere")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    try:
        report = verify(options.file, read_trust(options.trust) if options.trust else None)
    except Unusable as error:
        print(f"{options.file}: {error}", file=sys.stderr)  # noqa: T201  the one word to the terminal
        return UNUSABLE
    told = [json.dumps(asdict(report), indent=1)] if options.json else lines(report)
    print("\n".join(told))  # noqa: T201
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
