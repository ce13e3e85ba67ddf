"""How every script starts and fails."""

import logging
import sys
from collections.abc import Callable

from utils.errors import UserError


def run_script(main: Callable[[], None]) -> None:
    """Runs a script's `main`. An error that is the user's to mend becomes one message and exit code 2."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that cannot show Δ must not end a day's work
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted; training goes on with --train.resume and its run folder", file=sys.stderr)
        sys.exit(130)
