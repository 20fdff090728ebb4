"""A finished run as an object: figures, frames, the model, recommendations."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from common.config import RunConfig
from common.data.called import log_name
from common.errors import ConfigError, RunError
from common.explain import value_text
from common.printable import counted
from common.settings import load
from common.tasks import ACCURACY, EXPOSURES, GROUP_EXPOSURES
from experiments.recommend import best, numbered, timed
from experiments.run_files import exposed, filtered, json_lines, read_summary
from experiments.trained import Catalogue, Trained, catalogue, open_run, unfinished
from experiments.units import share_text
from fedsieve.recommender import Recommender
from fedsieve.settings import given_text, is_list, path_of

if TYPE_CHECKING:
    import plotly.graph_objects as go

AUDIT = {
    "round": pl.Int64,
    "node": pl.UInt64,
    "device": pl.Int64,
    "user": pl.String,
    "verdict": pl.String,
    "reason": pl.String,
    "detail": pl.String,
    "weight": pl.Float64,
    "seconds_held": pl.Float64,
    "evaluation": pl.String,
}


class Metrics(dict[str, float]):
    """Metrics by name; shown with four digits."""

    def __repr__(self) -> str:
        return "{" + ", ".join(f"{name!r}: {value:.4f}" for name, value in self.items()) + "}"


@dataclass(frozen=True, eq=False, repr=False)
class Result:
    """What a run found. :func:`fedsieve.run` and :func:`fedsieve.load_result` make it.

    Parameters
    ----------
    folder
        Where the files of the run lie. One that ``run`` chose itself goes with this object.
    config
        All settings of the run, targets resolved to item numbers.
    summary
        ``summary.json``: protocol, metrics by split and by quartile of history length, bytes, seconds.
    """

    folder: Path
    config: RunConfig
    summary: Mapping[str, Any]

    @cached_property
    def metrics(self) -> Metrics:
        """Means over the honest test items: HR@k, NDCG@k and MRR of the full ranking, seen items filtered.

        Where items are targeted, also ER@k and T-NDCG@k, the share of users who are shown one. From 0 to 1.
        """
        test = self.summary.get("test", {})
        found = {name: test[name] for name in ACCURACY if name in test}
        exposed = (name for name in (*EXPOSURES, *GROUP_EXPOSURES) if name in self.summary)
        return Metrics(found | {name: self.summary[name] for name in exposed})

    @cached_property
    def history(self) -> pl.DataFrame:
        """One row a round: what was admitted, norms, seconds, bytes; ``valid.ndcg@10`` and the like where the
        round ended with an evaluation, else null.

        Raises CheckpointError where the file is damaged.
        """
        rounds: dict[int, dict[str, Any]] = {}
        for line in self._lines("metrics.jsonl"):
            row = rounds.setdefault(line["round"], {"round": line["round"]})
            prefix = f"{line['split']}." if "split" in line else ""
            row |= {
                prefix + name: value
                for name, value in line.items()
                if isinstance(value, int | float) and name != "round"
            }
        found = list(rounds.values())
        columns = list(dict.fromkeys(name for row in found for name in row))
        rows = [{name: row.get(name) for name in columns} for row in found]
        return pl.DataFrame(rows, schema=None if rows else {"round": pl.Int64}, infer_schema_length=None)

    @cached_property
    def audit(self) -> pl.DataFrame:
        """One row a device and round: node, verdict, reason and weight (1 in all over a round); a null device
        stands for a whole reply, ``evaluation`` says the split of a reply to an evaluation. ``user`` is the
        log's own id of a device, null over a network; ``seconds_held``: seconds waited for a late one.

        Raises CheckpointError where the file is damaged.
        """
        rows = [{name: line.get(name) for name in AUDIT} for line in self._lines("audit.jsonl")]
        return pl.DataFrame(rows, schema=AUDIT)

    @property
    def report(self) -> Path:
        """``report.html``, a page that needs no network."""
        return self.folder / "report.html"

    @cached_property
    def model(self) -> Recommender:
        """The trained model as a PyTorch module in evaluation mode: item numbers in, scores out.

        Raises RunError or CheckpointError where the folder lacks it.
        """
        run = self._trained
        items = run.parameters.embeddings
        return Recommender(run.encoder(), items, run.config.model.max_len).eval().requires_grad_(False)

    def recommend(
        self,
        history: Sequence[str | int],
        k: int = 10,
        *,
        with_seen: bool = False,
        times: Sequence[float] | None = None,
    ) -> pl.DataFrame:
        """What comes next after a history.

        Parameters
        ----------
        history
            Item ids as the log writes them, oldest first, one at least.
        k
            At most so many items.
        with_seen
            Whether items of the history may be recommended.
        times
            Seconds of the items of the history, for a model that reads them, as HSTU with ``times`` does.

        Returns
        -------
        polars.DataFrame
            Columns ``rank`` (from 1), ``item`` (the log's id), ``title`` ("" where unknown) and ``score``.

        Raises
        ------
        ConfigError
            An id that the log does not have, a history that is empty or no list, times that are missing or do
            not fit it, or a k below 1.
        """
        if not is_list(history):
            raise ConfigError(f"history: expected a list of item ids, found {given_text(history)}")
        if not isinstance(k, int | np.integer) or k < 1:
            raise ConfigError(f"k: expected a whole number from 1 (given: {value_text(k)})")
        items = numbered([str(one) for one in history], self._catalogue, label="history")
        if times is not None and not is_list(times):
            raise ConfigError(f"times: expected a list of seconds, found {given_text(times)}")
        seconds = timed(times, self._trained, self._catalogue, items, label="times")
        hits = best(self._trained, self._catalogue, items, k, with_seen, seconds)
        rows = [(hit.rank, hit.id, hit.title, hit.score) for hit in hits]
        columns = {"rank": pl.Int64, "item": pl.String, "title": pl.String, "score": pl.Float64}
        return pl.DataFrame(rows, schema=columns, orient="row")

    def plot(self) -> go.Figure:
        """NDCG@10 over the rounds and, where items are targeted, ER@10 beside it, as a Plotly figure."""
        from plotly.subplots import make_subplots

        from experiments.run_figures import learning

        drawn = [one for one in learning(list(self._lines("metrics.jsonl"))) if one.data]
        names = [one.layout.yaxis.title.text for one in drawn]
        figure = make_subplots(cols=max(1, len(drawn)), subplot_titles=names)
        for place, one in enumerate(drawn, start=1):
            for trace in one.data:
                figure.add_trace(trace.update(legendgroup=trace.name, showlegend=place == 1), 1, place)
        figure.update_xaxes(title_text="round").update_yaxes(rangemode="tozero")
        return figure.update_layout(title=self._title, template="plotly_white", height=380)

    @cached_property
    def _trained(self) -> Trained:
        return open_run(self.folder)

    @cached_property
    def _catalogue(self) -> Catalogue:
        return catalogue(self._trained)

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        path = self.folder / name
        try:
            yield from json_lines(path)
        except OSError as error:
            raise RunError(f"cannot read {path}: {error.strerror}") from error

    @property
    def _title(self) -> str:
        return f"{self.summary['model']} on {log_name(self.config.data)}, {self.summary['aggregator']}"

    @property
    def _facts(self) -> str:
        parts = [counted(self.summary["rounds"], "round"), f"seed {self.summary['seed']}"]
        if self.summary["attack"] != "none":
            share = share_text(self.summary["malicious_share"])
            parts.append(f"{self.summary['attack']} on {share} of the devices")
        return ", ".join(parts)

    def __repr__(self) -> str:
        shown = ("hr@10", "ndcg@10", "mrr", *["er@10"] * exposed(self.summary))
        figures = "  ".join(f"{n.upper()} {self.metrics[n]:.4f}" for n in shown if n in self.metrics)
        users = counted(self.summary.get("evaluated_devices", 0), "user")
        told = f"test{filtered(self.summary)}  {figures}  ({users})"
        return f"Result({self._title}; {self._facts})\n  {told}\n  {self.folder}"

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name.upper()}</th>" for name in self.metrics)
        row = "".join(f"<td>{value:.4f}</td>" for value in self.metrics.values())
        return (
            f"<div><b>{escape(self._title)}</b>: {escape(self._facts)}"
            f"<table><thead><tr>{head}</tr></thead><tbody><tr>{row}</tr></tbody></table>"
            f"<small>{escape(str(self.summary['protocol']))}<br>{escape(str(self.folder))}</small></div>"
        )


def load_result(folder: str | os.PathLike[str]) -> Result:
    """The finished run in ``folder``, as ``fedsieve run`` or :func:`fedsieve.run` left it.

    Raises
    ------
    RunError
        There is no finished run.
    CheckpointError
        Its summary is damaged.
    ConfigError
        Its ``config.yaml`` is of another version.
    """
    path = path_of(folder, "folder")
    try:
        summary = read_summary(path)
        config = load(path / "config.yaml")
    except OSError as error:
        if (path / "config.yaml").is_file() and not (path / "summary.json").exists():
            raise unfinished(path) from error
        raise RunError(f"no finished run in {path}: {error.filename}: {error.strerror}") from error
    return Result(path, config, summary)
