"""What a device does to its update before it leaves: decoys, clip, noise, coarse values (all optional)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from common.config import ClientConfig
from common.updates import STRONG, DeviceUpdates, interaction_sizes


def protect(
    updates: DeviceUpdates, config: ClientConfig, keys: Sequence[bytes], lasting: Sequence[bytes]
) -> DeviceUpdates:
    """Decoys, then clip, then noise, then coarse values: the last is post-processing, which costs no ε.

    keys: 32 secret bytes a device, new in every round; lasting: 32 that a device keeps over the rounds.
    Without any option the updates are returned as they are.
    """
    updates = with_decoys(updates, config.decoys, keys, lasting)
    updates = with_noise(clipped(updates, config.clip), config.clip * config.noise, keys)
    return quantised(updates, config.quantise, config.top_k)


def clipped(updates: DeviceUpdates, clip: float) -> DeviceUpdates:
    """u ← u·min(1, C/‖u‖₂), encoder and rows together; C = ``clip``, and 0 is off."""
    if clip <= 0:
        return updates
    norm = (updates.encoder.square().sum(1) + updates.rows.square().sum((1, 2))).sqrt()  # [n]
    factor = (clip / norm.clamp(min=torch.finfo(torch.float32).tiny)).clamp(max=1.0)  # [n]
    encoder = updates.encoder * factor[:, None]  # [n, P]
    return replace(updates, encoder=encoder, rows=updates.rows * factor[:, None, None])


def with_noise(updates: DeviceUpdates, width: float, keys: Sequence[bytes]) -> DeviceUpdates:
    """u ← u + N(0, ``width``²·I), the local Gaussian mechanism; ε is in common/accounting.py.

    With ``negatives: device`` the noise lands on touched rows only: which rows those are is not hidden.
    """
    if width <= 0:
        return updates
    size, shape = updates.encoder.shape[1], updates.rows.shape[1:]
    encoder, rows = updates.encoder.clone(), updates.rows.clone()
    for k, key in enumerate(keys):
        numbers = draws(key, "noise").standard_normal(size + shape.numel(), np.float32)
        drawn = torch.from_numpy(numbers).to(encoder.device)
        encoder[k] += width * drawn[:size]
        noise = width * drawn[size:].view(shape)  # [K, d]
        rows[k] += noise if updates.touched is None else noise * updates.touched[k][:, None]
    return replace(updates, encoder=encoder, rows=rows)


def with_decoys(
    updates: DeviceUpdates, count: int, keys: Sequence[bytes], lasting: Sequence[bytes]
) -> DeviceUpdates:
    """``count`` rows of the slice that are no next items of the device are moved as one would be.

    With S the device's own strong rows, mean μ and s = |S|, decoy i becomes r·v/‖v‖, where
    v = μ + Σ_{j ∈ S} z_j (g_j − μ)/√s, z ~ N(0, I), and r is the norm of a row drawn from S: a size and a
    direction like the device's own. Which rows: the first of the slice in an order of the catalogue that
    the device keeps, so that a decoy comes back as an item of the history does, and no average over the
    rounds tells them apart (the permanent answer of RAPPOR, Erlingsson et al. 2014, arXiv 1407.6981). A
    device that moves no row strongly sends no decoys; with ``negatives: device`` they are touched rows.
    """
    if count <= 0:
        return updates
    rows, norms = updates.rows.clone(), updates.row_norms  # [n, K, d], [n, K]
    strong = (norms > STRONG * interaction_sizes(norms)[:, None]) & (norms > 0)  # [n, K]
    free = ~strong if updates.touched is None else ~strong & updates.touched  # [n, K]
    items = updates.items.cpu().numpy()
    strong_here, free_here = strong.cpu(), free.cpu()  # where the orders are drawn
    for k, (key, kept) in enumerate(zip(keys, lasting, strict=True)):
        places = free_here[k].nonzero().squeeze(1)
        if not bool(strong_here[k].any()) or not len(places):
            continue
        # One number an item of the catalogue, whatever the slice is.
        rank = draws(kept, "decoys").random(int(items.max()) + 1)[items[places.numpy()]]
        chosen = places[torch.from_numpy(np.sort(np.argsort(rank)[:count]))]  # [m]
        chosen = chosen.to(rows.device)
        rows[k, chosen] = _like(updates.rows[k][strong[k]], len(chosen), draws(key, "decoys"))
    return replace(updates, rows=rows)


def _like(own: Tensor, count: int, random: np.random.Generator) -> Tensor:
    """``count`` rows in the likeness of ``own`` [s, d] -> [count, d]."""
    mean = own.mean(0)  # [d]
    mix = torch.from_numpy(random.standard_normal((count, len(own)), np.float32)).to(own) / len(own) ** 0.5
    made = torch.nn.functional.normalize(mean + mix @ (own - mean), dim=1)  # [count, d]
    like = torch.from_numpy(random.integers(len(own), size=count)).to(own.device)
    sizes = own.norm(dim=1)[like]  # [count]
    found: Tensor = made * sizes[:, None]
    return found


def quantised(updates: DeviceUpdates, how: str, k: int) -> DeviceUpdates:
    """Rows with coarse values; the encoder is left as it is. ``none`` changes nothing.

    ``sign``: x ← m·sign(x), m the mean of |x| over the rows that the device trained: all rows get one size
    (signSGD, Bernstein et al. 2018, arXiv 1802.04434; the scale of arXiv 1901.09847, which makes no update
    longer, so that ``clip`` still holds). ``top_k``: the k largest |x| of EACH row, the others 0 (Stich et
    al. 2018, arXiv 1809.07599). Not the k strongest rows: those are the next items, so their numbers alone
    would tell the history, and admission refuses an update of few rows.
    """
    rows = updates.rows  # [n, K, d]
    if how == "sign":
        trained = (rows != 0).sum((1, 2)).clamp(min=1)  # values, [n]
        return replace(updates, rows=rows.sign() * (rows.abs().sum((1, 2)) / trained)[:, None, None])
    if how == "top_k" and k < rows.shape[2]:
        kept = rows.abs().topk(k, dim=2).indices  # [n, K, k]
        return replace(updates, rows=torch.zeros_like(rows).scatter_(2, kept, rows.gather(2, kept)))
    return updates


def draws(key: bytes, purpose: str) -> np.random.Generator:
    """The random numbers of ``key`` for one purpose.

    Philox has a key of 128 bits. torch.manual_seed keeps 32 bits of what it is given: a server could try
    them all and take the noise off. Philox passes statistical tests; it is no proven stream cipher.
    """
    word = hashlib.blake2b(purpose.encode(), key=key, digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(word, "big")))
