"""A machine that fills a board: ``python -m tests.experiments.leaderboard.machine FOLDER NAME SECONDS``.

Its cells take SECONDS each and train nothing; a line NAME KEY of each goes to FOLDER/told before it starts
(begin) and once it is in its place (end).
"""

from __future__ import annotations

import io
import json
import sys
import time
from pathlib import Path
from unittest.mock import patch

from rich.console import Console

from experiments.leaderboard import work
from experiments.leaderboard.cells import Board
from experiments.leaderboard.claims import Claim, Claims
from experiments.pool import Job, Notes
from tests.experiments.leaderboard.samples import Here, board, result

PATIENCE_S = 1.5


def main(folder: Path, name: str, seconds: float) -> None:
    _, found = board(folder)
    by_key = {one.key: one for one in found.plan.cells}

    def tell(what: str, key: str) -> None:
        with (folder / "told").open("a") as file:
            file.write(f"{what} {name} {key}\n")

    def pretend(self: work.BoardWork, job: Job, notes: Notes) -> None:
        tell("begin", job.key)
        job.folder.mkdir(exist_ok=True)
        (job.folder / "part").write_text(name)
        time.sleep(seconds)
        if job.key in by_key:
            (job.folder / "row.json").write_text(json.dumps(result(by_key[job.key])))

    publish = Board.publish

    def published(self: Board, job: Job, claim: Claim) -> bool:
        kept = publish(self, job, claim)
        if kept:
            tell("end", job.key)
        return kept

    with (
        patch.object(work.BoardWork, "__call__", pretend),
        patch.object(Board, "publish", published),
        Claims(found.folder / "claims", PATIENCE_S) as claims,
    ):
        console = Console(file=io.StringIO())
        work.fill(found, found.plan.cells, claims, Here(1), True, console, float, lambda: None)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]))
