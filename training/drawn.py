"""Draw a dataset of synthetic faces, to try training without photos of people.

python -m training.drawn --out runs/drawn     # one folder per class, as training.train takes it
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from training.data.synthetic import COUNTS, write


def main(argv: Sequence[str] | None = None) -> int:
    """Write a dataset of synthetic faces from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m training.drawn", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder to write")
    args = parser.parse_args(argv)
    try:
        write(args.out)
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{args.out}: {', '.join(f'{name} {count}' for name, count in COUNTS.items())} faces")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
