"""``docs/settings.md``: every setting with its type, default, meaning and an example.

``python -m experiments.settings_page`` writes the page anew after a change there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from common.config import RunConfig
from common.explain import expected

PAGE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"
HEAD = """# Settings

Every setting of a run, with its default. Write it in a YAML file, or on the command line:

```
fedsieve run --set train.rounds=300 --set strategy.aggregator=krum
```

```yaml
train: {rounds: 300}
strategy: {aggregator: {name: krum, neighbours: byzfl}}
```

A component (rule, attack, model, …) is a name, or a name with its parameters beside it. `fedsieve list KIND`
and the [catalogue](catalogue.md) have all of them, with the names of their parameters; the docstring of the
class explains each.

An item is written by its id in the log: `50` is the item that the log calls 50. `"#12"`, in quotes, is number
12 of the catalogue, as where a server has no ids, or where an id has a comma or looks like such a number.

A setting that does not exist, or a value that does not fit, is refused with what is valid. This page is
written by `python -m experiments.settings_page`.
"""
TITLES = "| setting | what it may be | default | meaning | example |"
EXAMPLES: Mapping[str, str] = {
    "seed": "1",
    "device": "cuda:1",
    "checkpoint_every": "10",
    "data.name": "ml-1m",
    "data.path": "my-log.csv",
    "data.max_devices": "500",
    "data.max_length": "20",
    "data.public": "128",
    "data.columns": "{item: parent_asin, time: reviewed}",
    "data.order": "file",
    "data.encoding": "cp1252",
    "data.events": "[view, purchase]",
    "data.min_rating": "4",
    "data.duplicates": "keep",
    "data.repeats": "drop",
    "data.min_user": "5",
    "data.min_item": "5",
    "model.name": "gru4rec",
    "model.dim": "128",
    "model.max_len": "100",
    "model.blocks": "1",
    "model.heads": "2",
    "model.dropout": "0.2",
    "model.code_books": "4",
    "model.code_rows": "509",
    "model.params": "{}",
    "train.rounds": "1000",
    "train.devices_per_round": "128",
    "train.negatives": "full",
    "train.slice_size": "auto",
    "train.busy_share": "0.8",
    "train.slices": "4",
    "train.slice_power": "1.0",
    "train.slice_correction": "false",
    "train.device_negatives": "128",
    "train.local_steps": "3",
    "train.local_lr": "0.5",
    "train.precision": "bfloat16",
    "train.loss": "gbce",
    "train.calibration": "0.5",
    "train.label_smoothing": "0.1",
    "train.patience": "10",
    "train.targets": "last",
    "train.window": "last",
    "strategy.aggregator": "{name: krum, neighbours: byzfl}",
    "strategy.pre": "[nnm]",
    "strategy.byzantine": "0.1",
    "strategy.constraints": "[{name: exposure_cap, quantile: 0.8}]",
    "strategy.optimizer": "yogi",
    "strategy.lr": "0.008",
    "strategy.warmup_rounds": "50",
    "strategy.decay_from": "0.8",
    "strategy.deadline_s": "120",
    "strategy.min_replies": "16",
    "strategy.oversample": "1.2",
    "strategy.secret": "any text",
    "strategy.quota": "200",
    "strategy.newcomer_rounds": "0",
    "strategy.close_at": "0.9",
    "strategy.max_history": "500",
    "strategy.trusted_nodes": "[17]",
    "strategy.wait_nodes": "4",
    "strategy.wait_s": "600",
    "client.regularisers": "[{name: anchor, weight: 0.01}]",
    "client.clip": "1.0",
    "client.noise": "0.0",
    "client.decoys": "64",
    "client.quantise": "sign",
    "client.top_k": "16",
    "attack.name": "label_to_target",
    "attack.share": "0.05",
    "attack.targets": '[50, 181, "#12"]',
    "attack.target_count": "5",
    "attack.start_round": "101",
    "attack.period": "10",
    "attack.active": "1",
    "attack.rest": "parity",
    "attack.knowledge": "full",
    "attack.params": "{}",
    "eval.every": "10",
    "eval.split": "time",
    "eval.quantiles": "[0.7, 0.85]",
    "eval.times": "[9.7e+8, 9.8e+8]",
    "eval.sample": "2000",
    "eval.cuts": "[1, 50]",
    "eval.bootstrap": "0",
    "eval.targets": "[50]",
    "eval.group": "181",
    "wire.dtype": "float32",
    "wire.reply_mb": "64",
}
"""A valid value of each."""


@dataclass(frozen=True)
class Setting:
    """One row of the page."""

    key: str
    type: str
    default: str
    meaning: str
    example: str


def settings() -> Iterator[Setting]:
    """Every setting in the order of the config."""
    # those of no section first
    yield from sorted(_of(RunConfig, ""), key=lambda one: "." in one.key)


def _of(model: type[BaseModel], before: str) -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        key, kind = before + name, field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind.__name__.endswith("Config"):
            yield from _of(kind, f"{key}.")
        else:
            meaning = field.description or ""
            yield Setting(key, expected(field), _written(field), meaning, EXAMPLES.get(key, ""))


def _written(field: FieldInfo) -> str:
    """The default as YAML on one line."""
    value = field.get_default(call_default_factory=True)
    if isinstance(value, BaseModel):
        return str(value.model_dump()["name"])
    if isinstance(value, tuple | list):
        return json.dumps([one.model_dump()["name"] if isinstance(one, BaseModel) else one for one in value])
    return '""' if value == "" else str(value).lower() if isinstance(value, bool) else str(value)


def page() -> str:
    """The whole page."""
    lines = [HEAD]
    group = None
    for one in settings():
        section = one.key.partition(".")[0] if "." in one.key else ""
        if section != group:
            group = section
            lines += [
                f"\n## {section or 'The run'}\n",
                TITLES,
                "|---|---|---|---|---|",
            ]
        cells = [f"`{one.key}`", one.type, f"`{one.default}`", one.meaning, f"`{one.example}`"]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
