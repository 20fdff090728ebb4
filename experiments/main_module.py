"""The script of a user in worker processes: imported there only for the components that it registers.

A worker of multiprocessing imports the main module. A script that calls the library at its top level would
then begin again in every worker.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import spawn
from types import ModuleType

from common.errors import RunError
from common.registry import registries

Main = Mapping[str, str]
"""Where the main module lies, in multiprocessing's own words; empty: no worker needs it."""


def needed_main() -> Main:
    """The main module, if components were registered in this process: workers must know them, too."""
    if not any(registry.added() for registry in registries().values()):
        return {}
    data = spawn.get_preparation_data("main")
    return {key: str(value) for key, value in data.items() if key.startswith("init_main_from")}


@contextmanager
def hidden_main() -> Iterator[None]:
    """A process that is started within does not import the main module by itself."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def import_main(main: Main) -> None:
    """Import ``main`` in a worker, under another name than ``__main__``; marked as a worker's start is."""
    process = multiprocessing.current_process()
    vars(process)["_inheriting"] = True
    try:
        spawn.prepare(dict(main))
    finally:
        del vars(process)["_inheriting"]


def refuse_in_worker(what: str) -> None:
    """Raises RunError where a worker that is about to begin imports the script that calls ``what``."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise RunError(
            f"{what} is called while a worker process imports the script; put the calls under "
            'if __name__ == "__main__":'
        )
