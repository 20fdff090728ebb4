"""Beside the figures of a run, where its log is at hand: floors, names of items, who is malicious."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from client.fleet import Numbers
from common.config import RunConfig
from common.data import CATALOGUE, Dataset, content_digest, load, read_catalogue
from common.data.digest import catalogue_digest
from common.data.names import Names
from common.data.shards import titles_of
from common.errors import FedSieveError
from common.homes import expanded
from common.items import numbers_of, shown
from emulation.federation import malicious_numbers, open_log, sides
from experiments.beyond import beyond
from experiments.floors import floors
from experiments.run_files import read_summary
from experiments.trained import at_hand, open_run, relative
from server.records.checkpoint import write_atomically

_LOG = logging.getLogger(__name__)
FLOOR_DEVICES = 10_000
"""Devices that the floors are measured on, evenly spread over a larger log: minutes are hours without."""


TRUTH = "malicious.json"
"""Numbers of the malicious devices, in the folder of a run over the network by who started its nodes too."""


def add_truth(folder: Path, config: RunConfig) -> None:
    """Write who is malicious, for a page made where the log is not; nothing where nobody knows."""
    known = malicious_of(config, log_of(config))
    if known is not None:
        write_atomically(folder / TRUTH, json.dumps(sorted(known)).encode())


def truth_of(folder: Path, config: RunConfig) -> frozenset[int] | None:
    """The malicious devices of the run in ``folder``: those written down, or those of an emulation."""
    written = folder / TRUTH
    if written.is_file():
        return frozenset(map(int, json.loads(written.read_text(encoding="utf-8"))))
    digest = read_summary(folder).get("data_digest", "")
    config = at_hand(config, folder)
    return malicious_of(config, log_of(config, str(digest)))


def add_beside(folder: Path, config: RunConfig) -> None:
    """Write floors, what is recommended, intervals over users, and the targets' ids and titles into
    ``summary.json``, where log or catalogue is there.

    What is there from before stays where neither is. floors: name -> metrics on the test items of
    ``floor_devices`` honest devices; floors_unfiltered: the same without a filter, where answers recur.
    target_items: own id of each target -> its catalogue number and title. started_in: where a relative path
    of the log begins.
    """
    summary, run = read_summary(folder), open_run(folder)
    config, digest = at_hand(config, folder), str(summary.get("data_digest", ""))
    dataset = log_of(config, digest)
    if dataset is not None and dataset.num_items != run.num_items:
        dataset = None
    items = named(config, dataset, digest)
    if items is not None and relative(config):
        summary["started_in"] = str(Path.cwd())
    if dataset is not None:
        chosen = spread(sides(config, dataset)[0])
        summary |= {"floors": floors(dataset, devices=chosen), "floor_devices": len(chosen)}
        if summary.get("recurring"):
            summary["floors_unfiltered"] = floors(dataset, filtered=False, devices=chosen)
        summary |= beyond(run, dataset, chosen)
    known = names_of(config.eval.targets, *items) if items is not None else {}
    summary["target_items"] = known or summary.get("target_items", {})
    write_atomically(folder / "summary.json", json.dumps(summary, indent=2).encode())


def log_of(config: RunConfig, digest: str = "") -> Dataset | None:
    """The log of a run; None where it is not here, as at a server, which has a catalogue at most.

    digest: of the log or the catalogue that the run had; another log in its place is not here either.
    """
    if Path(config.data.path).name == CATALOGUE:
        return None
    try:
        log = open_log(config)
    except FedSieveError:
        return None
    data = config.data
    if digest and not (
        digest in (content_digest(log), catalogue_digest(log.item_ids))
        # a server that has the log knows all of it, whatever devices the run has
        or digest == content_digest(load(data.name, data.path, prepare=data.preparation))
    ):
        where = data.path or data.name
        _LOG.warning("%s holds another log than this run had; what the run wrote of its own stays", where)
        return None
    return log


def named(
    config: RunConfig, dataset: Dataset | None, digest: str
) -> tuple[Sequence[str], Mapping[int, str]] | None:
    """Ids and titles of the items, by the log or the run's catalogue, which is all a server has; or None."""
    if dataset is not None:
        return dataset.item_ids, dataset.titles
    if Path(config.data.path).name != CATALOGUE:
        return None
    try:
        frame = read_catalogue(expanded(config.data.path))
    except FedSieveError:
        return None
    ids = Names.of(frame["id"])
    return (ids, titles_of(frame)) if digest in ("", catalogue_digest(ids)) else None


def names_of(
    items: Collection[str], ids: Sequence[str], titles: Mapping[int, str]
) -> dict[str, dict[str, Any]]:
    """Number and title of each ``#number``, by its id."""
    numbers = [n for n in numbers_of(items, "eval.targets") if n <= len(ids)]
    return {shown(n, ids): {"number": n, "title": titles.get(n, "")} for n in numbers}


def malicious_of(config: RunConfig, dataset: Dataset | None) -> frozenset[int] | None:
    """The malicious devices of an emulation; None where nobody knows, as over a network."""
    return None if dataset is None or config.attack.name == "none" else malicious_numbers(config, dataset)


def spread(honest: Numbers) -> list[int]:
    """At most FLOOR_DEVICES of the places ``honest``, evenly spread."""
    places = np.linspace(0, len(honest) - 1, min(len(honest), FLOOR_DEVICES)).astype(int)
    found: list[int] = honest[places].tolist()
    return found
