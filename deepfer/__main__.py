"""`python -m deepfer`: see `deepfer.cli`."""

import sys

from deepfer.cli import main

if __name__ == "__main__":
    sys.exit(main())
