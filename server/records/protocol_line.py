"""One line that says how the numbers of a run were obtained; it stands under every table of it."""

from __future__ import annotations

from collections.abc import Mapping

from common.config import RunConfig, TrainConfig


def protocol(config: RunConfig) -> str:
    """One line that says how the numbers were obtained."""
    t, s, c = config.train, config.strategy, config.client
    slice_text = f"negatives {t.negatives}"
    if t.negatives == "slice":
        correction = "" if t.slice_correction else ", no log q"
        size = f"for {t.busy_share:.0%} busy devices" if t.slice_size == "auto" else str(t.slice_size)
        of = "" if t.slice_size == "auto" else "of "
        several = "slice " if t.slices == 1 else f"best of {t.slices} slices {of}"
        slice_text = f"{several}{size} (popularity^{t.slice_power:g}{correction})"
    if config.model.code_books:
        slice_text += f", {config.model.code_books} x {config.model.code_rows} code rows"
    products = "" if t.precision == "float32" else f" in {t.precision}"
    secret = "; repeatable (the secret is set)" if s.secret else ""
    parts = [f"{name} {value:g}" for name, value in (("clip", c.clip), ("noise", c.noise)) if value]
    parts += [f"{c.decoys} decoys"] * bool(c.decoys)
    parts += [f"{c.quantise} rows" + f" {c.top_k}" * (c.quantise == "top_k")] * (c.quantise != "none")
    changed = f"; updates: {', '.join(parts)}" if parts else ""
    sees = "; attackers see all honest updates" if config.omniscient else ""
    return (
        f"full ranking, {split_text(config)}, seen items filtered; "
        f"{_plain(t.rounds, 'round')} x {_plain(t.devices_per_round, 'device')}, {slice_text}, "
        f"{t.local_steps} local step(s), {loss_text(t)}{products}, "
        f"{s.optimizer.name} {s.lr:g}{changed}{log_text(config)}{secret}{sees}"
    )


def _plain(number: int, noun: str) -> str:
    """As in tables that others keep: no separators in numbers."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def split_text(config: RunConfig) -> str:
    """What the protocol line says of what is held out."""
    if config.eval.split == "leave_one_out":
        return "leave-one-out"
    if (cuts := config.eval.moments) is None:
        early, late = config.eval.quantiles
        return f"time split at the quantiles {early:g} and {late:g}, the next item of each device"
    return f"time split at {cuts[0]:.0f} and {cuts[1]:.0f} s, the next item of each device"


def loss_text(train: TrainConfig) -> str:
    """The loss with what of it is not as usual."""
    calibrated = f" t={train.calibration:g}" if train.loss == "gbce" else ""
    smoothed = f", labels smoothed by {train.label_smoothing:g}" if train.label_smoothing else ""
    return f"{train.loss}{calibrated} loss{smoothed}{' at the last item' * (train.targets == 'last')}"


def log_text(config: RunConfig) -> str:
    """What the protocol line says of the rules by which the log was read."""
    return f"; log: {rules}" if (rules := config.data.preparation.summary()) else ""


def recurring_text(recurring: Mapping[str, float]) -> str:
    """What the protocol line says of answers that the device had before."""
    share = recurring.get("test", 0.0)
    told = "of the test answers recur, and those are ranked among all items; unfiltered: every answer is"
    return f"; {share:.1%} {told}" if share else ""


def privacy_text(private: Mapping[str, float]) -> str:
    """The end of the protocol line."""
    if not private:
        return ""
    cost = "local ε {epsilon:.4g} at δ {delta:g} after {rounds_per_device} rounds of a device"
    return "; " + cost.format(**private)


def sample_text(config: RunConfig, enrolled: int) -> str:
    """What the protocol line says of evaluations during the run; ``enrolled``: devices, 0 where unknown."""
    if not 0 < config.eval.sample < enrolled:
        return ""
    return f"; progress on {config.eval.sample:,} of {enrolled:,} devices"
