"""The program ``fedsieve``: it says which Python is needed before anything that needs it is imported."""

import sys


def main() -> None:
    """Start the command line. Exit status 2 on a Python that is too old or too new."""
    try:
        import common  # noqa: F401
    except ImportError as error:
        print(f"fedsieve: {error}", file=sys.stderr)
        sys.exit(2)
    try:
        from experiments.cli import main as start
    except KeyboardInterrupt:  # half a second of imports, before the commands have their own answer to it
        sys.exit(130)
    start()
