"""ER@k and T-NDCG@k of a whole run, counted again user by user from the saved model."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from client.ranking import score
from common.data import load, split
from common.models import build_model
from common.tasks import CUTS, GlobalModel
from emulation.federation import federate, malicious_numbers
from emulation.targets import with_targets
from experiments.run_files import summary_table
from fedsieve import load_result
from tests.server.federation import LOG, config, model

GROUP = 2
"""An item of interest."""


@pytest.mark.parametrize("targets", ["[4, 9, 21]", "cold", "[17]"])
def test_exposure_is_that_of_honest_users_without_the_target(tmp_path: Path, targets: str) -> None:
    settings = config(
        *("attack.name=label_to_target", "attack.share=0.25", f"attack.targets={targets}"),
        *("attack.target_count=3", "eval.targets=[]", "eval.every=0", "strategy.lr=0.05"),
        f"eval.group={GROUP}",
    )
    summary = federate(settings, tmp_path)
    dataset = load("synthetic", LOG)
    bad = malicious_numbers(with_targets(settings, dataset), dataset)
    saved = model(tmp_path)
    parameters = GlobalModel(saved["encoder"], saved["item_table"])
    network = build_model(settings.model).eval()
    shares: dict[str, list[float]] = {f"{m}@{k}": [] for m in ("er", "t_ndcg", "er_group") for k in CUTS}
    assert len(summary["targets"]) == (1 if targets == "[17]" else 3)
    for target in map(int, summary["targets"]):  # of a made-up log id and number are the same
        gains: dict[str, list[float]] = {name: [] for name in shares if "group" not in name}
        members: list[bool] = []
        for number, sequence in zip(dataset.devices, dataset.sequences, strict=True):
            part = split(sequence)
            if int(number) in bad or target in sequence:
                continue
            history = np.append(part.train, np.int32(part.valid))
            with torch.no_grad():
                scores = score(network, parameters, [history], settings.model.max_len)[0].tolist()
            members.append(GROUP in history)
            unseen = [i for i in range(1, len(scores)) if i not in history]
            rank = sorted(unseen, key=lambda i: (-scores[i], i)).index(target)
            for k in CUTS:
                gains[f"er@{k}"].append(float(rank < k))
                gains[f"t_ndcg@{k}"].append(1 / math.log2(rank + 2) if rank < k else 0.0)
        for name, found in gains.items():
            shares[name].append(sum(found) / len(found))
        for k in CUTS:
            hits = [hit for hit, member in zip(gains[f"er@{k}"], members, strict=True) if member]
            assert 0 < len(hits) < len(members)
            shares[f"er_group@{k}"].append(sum(hits) / len(hits))
        mine = summary["exposure_by_target"][str(target)]
        assert mine == pytest.approx({name: shares[name][-1] for name in gains}, abs=1e-9)
    assert list(summary["exposure_by_target"]) == summary["targets"]
    assert max(shares["er@10"]) > 0  # the attack worked: the test compares more than zeros
    for name, found in shares.items():
        assert summary[name] == pytest.approx(sum(found) / len(found), abs=1e-9), name


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ([], False),
        (["attack.targets=[4]"], False),
        (["eval.targets=[9]"], True),
        (["eval.group=2"], True),
        (["attack.name=label_to_target"], True),
    ],
)
def test_a_table_shows_exposure_where_someone_promotes_or_asks(
    settings: list[str], shown: bool, tmp_path: Path
) -> None:
    summary = federate(config("eval.targets=[]", "train.rounds=1", "eval.every=0", *settings), tmp_path)
    assert "er@10" in summary  # the files have it in any case
    table = summary_table(summary)
    heads, caption = list(table.columns[0].cells), str(table.caption)
    assert ("ER@5/10/20" in heads, "; targets: " in caption) == (shown, shown)
    assert ("ER@10" in repr(load_result(tmp_path))) == shown
