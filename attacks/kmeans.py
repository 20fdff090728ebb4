"""Lloyd's k-means, our own because a run must repeat bit by bit, which threaded libraries do not promise."""

from __future__ import annotations

import torch
from torch import Tensor

ITERATIONS = 50


def kmeans(points: Tensor, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Centroids [C, d] and the cluster int64 [N] of each of ``points`` [N, d].

    Starts at C different points drawn at random; stops when no point moves. An empty cluster keeps its
    centroid. O(N·C·d) an iteration.
    """
    start = torch.randperm(len(points), generator=generator)[:count].to(points.device)
    centroids = points[start].clone()
    cluster = torch.full((len(points),), -1, device=points.device)
    for _ in range(ITERATIONS):
        nearest = torch.cdist(points, centroids).argmin(dim=1)  # [N]
        if torch.equal(nearest, cluster):
            break
        cluster = nearest
        members = torch.nn.functional.one_hot(cluster, count).to(points.dtype)  # [N, C]
        size = members.sum(dim=0)[:, None]  # [C, 1]
        centroids = torch.where(size > 0, members.T @ points / size.clamp_min(1), centroids)  # [C, d]
    return centroids, cluster
