"""What the programs that draw a picture of the docs share: write it, or check it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def write_or_check(path: Path, text: str, description: str | None) -> int:
    """Write a picture; with ``--check`` return 1 if the file is not what the code draws."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--check", action="store_true", help="exit 1 if the picture is not the current one")
    if parser.parse_args().check:
        if path.exists() and path.read_text() == text:
            return 0
        print(f"{path} is not what the code draws: run `make docs`", file=sys.stderr)
        return 1
    path.write_text(text)
    return 0
