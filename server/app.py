"""The ServerApp, and the same run over any grid."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from common.accounting import DELTA, local_epsilon
from common.config import RunConfig
from common.data import catalogue
from common.data.digest import with_cuts
from common.device import resolve, title
from common.errors import ConfigError
from common.items import with_measured
from common.logs import coloured_on_terminals_alone, event, json_logs, plain_logs
from common.machine import peak_cuda_mib, peak_mib
from common.settings import from_flat
from server.evaluation import early_stopping
from server.records import extension
from server.records.checkpoint import FILE, restored
from server.records.holding import chosen_folder
from server.records.metrics_http import metrics
from server.records.outputs import NodeMemory, RunFolder
from server.records.own_ids import OwnIds
from server.records.participation import most_rounds
from server.records.progress import LogProgress
from server.records.protocol_line import privacy_text, protocol, recurring_text, sample_text
from server.records.report import Listener
from server.records.stopping import stoppable
from server.strategy import RobustStrategy
from transport.orphan import end_with_parent

app = ServerApp()
OWN_KEYS = ("out", "resume")
"""Keys of Flower's run config beside the settings: where to write, and whether to go on there."""


@app.main()
def main(grid: Grid, context: Context) -> None:
    """A run submitted with ``flwr run``: settings from its run config, files under ``out``."""
    if not json_logs("server", context.run_id):
        plain_logs()
        coloured_on_terminals_alone()
    end_with_parent()
    flat = dict(context.run_config)
    own = {key: flat.pop(key, "") for key in OWN_KEYS}
    given, resume = str(own["out"]), bool(own["resume"])
    config = from_flat(flat)
    out = Path(chosen_folder(config, given, resume))
    if config.omniscient:
        raise ConfigError("attack.knowledge: full is for `fedsieve run` alone: no node sees another's update")
    if config.strategy.secret:
        text = "strategy.secret is part of the run's settings, which every node can read: for emulations only"
        logging.getLogger("flwr").warning(text)
    if config.eval.split == "time" and config.eval.moments is None:
        raise ConfigError(
            "eval.times: nodes and server need the same two times, and no node knows the log; take them from "
            "`fedsieve data stats LOG`, and give each node cut_times=T1,T2"
        )
    known = catalogue(config.data.name, config.data.path, config.data.preparation)
    config = with_measured(config, known.ids)
    with metrics(config, str(context.run_id)) as listeners:
        told = [LogProgress(config.train.rounds), *listeners]
        summary = serve(
            grid,
            config,
            known.items,
            out,
            resume,
            told,
            data=known.digest,
            fingerprint=with_cuts(known.fingerprint, config.eval.moments),
            own=OwnIds(known.ids),
        )
    complete(out)
    test, exposed = summary.get("test", {}), summary.get("er@10")
    end = "_unfiltered" if summary.get("recurring") else ""  # where answers recur it leads, as everywhere
    logging.getLogger("flwr").info(
        "finished: test%s HR@10 %.4f NDCG@10 %.4f%s; %.0f s, %.0f s of them evaluation; results in %s",
        end.replace("_", " "),
        test.get(f"hr@10{end}", float("nan")),
        test.get(f"ndcg@10{end}", float("nan")),
        "" if exposed is None else f" ER@10 {exposed:.4f}",
        summary["seconds"],
        summary["seconds_evaluation"],
        out,
        extra=event("finished", {**test, "er@10": exposed, "out": str(out)}),
    )


def complete(out: Path) -> None:
    """Hand a finished run to what ``FEDSIEVE_REPORT`` names, ``module:function``.

    Who starts a server may have a page written, by code that an app need not have. A run without one is
    whole: a failure is only logged.
    """
    module, _, function = os.environ.get("FEDSIEVE_REPORT", "").partition(":")
    if not module:
        return
    try:
        getattr(importlib.import_module(module), function)(out)
    except Exception as error:
        told = f"no report.html ({type(error).__name__}: {error}); write it with fedsieve report {out}"
        logging.getLogger("flwr").warning(told)


def serve(
    grid: Grid,
    config: RunConfig,
    num_items: int,
    out: Path,
    resume: bool = False,
    listeners: Sequence[Listener] = (),
    memory: NodeMemory | None = None,
    data: str = "",
    recurring: Mapping[str, float] | None = None,
    fingerprint: str = "",
    own: OwnIds | None = None,
) -> dict[str, Any]:
    """Run ``config`` over ``grid`` to its end, write ``out``, and return the summary.

    memory: of nodes that live in this process; it belongs to the checkpoint. data: a digest of the data
    (:mod:`common.data.digest`), by which a resumed run knows them again. recurring: share of the answers of a
    split that are in the history before them, where the log is known; else the nodes say it. fingerprint: of
    the catalogue; nodes with another are refused. own: what the log calls its items and users, for who reads
    the files.
    """
    folder = RunFolder(out, config, memory, data, own)
    strategy = RobustStrategy(
        config,
        num_items,
        [folder, *listeners],
        str(grid.run.run_id),
        folder.settled,
        folder.audit,
        fingerprint,
    )
    folder.hold()
    try:
        if resume and (out / "state" / FILE).exists():
            strategy.state = restored(folder.resume(), strategy.state)
        elif resume and (out / "config.yaml").exists():
            folder.restart()
        else:
            folder.create()
        with stoppable() as folder.stop:
            strategy.start(grid)
        folder.check()
        found = facts(config, folder, recurring or folder.recurring())
        stopped = strategy.state.best, strategy.trained, config.train.patience
        found |= early_stopping.facts(*stopped) | extension.facts(folder.extended)
        found["protocol"] += early_stopping.text(*stopped) + extension.text(folder.extended)
        return folder.finish(strategy.state, found)
    finally:
        folder.close()


def facts(config: RunConfig, folder: RunFolder, recurring: Mapping[str, float]) -> dict[str, Any]:
    """What identifies the run and what it cost, for ``summary.json``."""
    totals, device = folder.totals, title(resolve(config.device))
    private = privacy(config, most_rounds(folder.folder)) if config.client.noise else {}
    last = folder.evaluations.get("test")
    return {
        "rounds": config.train.rounds,
        "seconds": round(folder.elapsed(), 3),
        "seconds_evaluation": round(totals["seconds_evaluation"], 3),
        "protocol": f"{protocol(config)}; on {device}{sample_text(config, last.enrolled if last else 0)}"
        f"{privacy_text(private)}{recurring_text(recurring)}",
        **with_recurring(recurring),
        **({"privacy": private} if private else {}),
        "data": config.data.path or config.data.name,
        "model": config.model.name,
        "aggregator": config.strategy.aggregator.name,
        **config.scenario(),
        **evaluated(config, folder.own),
        "seed": config.seed,
        "device": device,
        "idle_share": round(totals["idle"] / max(1.0, totals["asked"]), 4),
        "device_updates_per_second": round(totals["admitted"] / max(totals["seconds"], 1e-9), 2),
        "bytes_up": int(totals["bytes_up"]),
        "bytes_down": int(totals["bytes_down"]),
        "peak_rss_mb": round(peak_mib(), 1),
        **({"peak_cuda_mb": round(card, 1)} if (card := peak_cuda_mib()) else {}),
    }


def privacy(config: RunConfig, rounds: int) -> dict[str, float]:
    """What noise on updates is worth to a device that took part ``rounds`` times."""
    client = config.client
    return {
        "epsilon": local_epsilon(client.noise, rounds),
        "delta": DELTA,
        "clip": client.clip,
        "noise": client.noise,
        "rounds_per_device": rounds,
    }


def evaluated(config: RunConfig, own: OwnIds) -> dict[str, Any]:
    """The items whose exposure is in the summary, and the group of users, as the log calls them."""
    group = {"group": own.item(config.eval.group)} if config.eval.group else {}
    return {"targets": [own.item(name) for name in config.eval.targets], **group}


def with_recurring(recurring: Mapping[str, float]) -> dict[str, Any]:
    """What the summary says of such answers; nothing where there are none."""
    return {"recurring": dict(recurring)} if any(recurring.values()) else {}
