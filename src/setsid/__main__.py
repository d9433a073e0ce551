"""`python -m setsid` is `pysetsid`."""

import sys

from .cli.setsid import main

if __name__ == "__main__":
    sys.exit(main())
