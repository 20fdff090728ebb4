"""Run one role: setup, superlink, node, malicious, run or results; ``--stock`` with Flower's own node."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from common.errors import FedSieveError
from common.printable import printable_lines

ROLES = ("setup", "superlink", "node", "malicious", "run", "results")


def main(argv: Sequence[str]) -> int:
    """The exit status of the role; 2 for what the user can put right, told in one line."""
    role, stock = (argv[0] if argv else ""), list(argv[1:]) == ["--stock"]
    if role not in ROLES or (argv[1:] and not (stock and role in ("node", "malicious"))):
        print(f"usage: python -m experiments.containers {{{'|'.join(ROLES)}}} [--stock]", file=sys.stderr)
        return 2
    try:
        return _run(role, stock)
    except FedSieveError as error:
        print(f"fedsieve: {printable_lines(error)}", file=sys.stderr)
        return 2


def _run(role: str, stock: bool) -> int:
    """Imports wait until the role is known: a replica claims its slot before it takes seconds over torch."""
    from rich.console import Console

    from experiments.containers.places import places

    console = Console()
    if role == "setup":
        from experiments.containers.prepare import prepare

        prepare(places(), console)
        return 0
    if role == "superlink":
        from experiments.containers.superlink import serve_superlink

        return serve_superlink(places(), console)
    if role == "results":
        from experiments.containers.results import deliver

        deliver(places(), console)
        return 0
    if role == "run":
        from experiments.containers.conduct import conduct

        return conduct(places(), console)
    from experiments.containers.replica import serve_replica

    return serve_replica("honest" if role == "node" else role, places(), console, stock)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
