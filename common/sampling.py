"""The part of all devices that an evaluation is about: a public hash of its number decides for each."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from common.keystream import Draws
from common.seeding import subkey

BITS = 53
ALL = 1 << BITS
"""No hash is as large."""


@dataclass(frozen=True)
class Sample:
    """The devices whose hash is below ``below``, of hashes even over [0, 2^53).

    salt: 64 hexadecimal digits, public. Who knows it before devices have their numbers can choose numbers
    that are in the sample; a server tells it after they enrolled.
    """

    salt: str
    below: int = ALL

    @staticmethod
    def of(salt: str, numbers: Tensor, count: int) -> Sample:
        """The sample that holds ``count`` of the devices ``numbers`` int64 [n], all sets alike; or all."""
        if count >= len(numbers):
            return Sample(salt)
        return Sample(salt, int(hashes(salt, numbers).kthvalue(count + 1).values))

    def holds(self, numbers: Tensor) -> Tensor:
        """Which of the devices ``numbers`` int64 [n] are in it: bool [n]."""
        if self.below == ALL:
            return torch.ones(len(numbers), dtype=torch.bool)
        return hashes(self.salt, numbers) < self.below


def hashes(salt: str, numbers: Tensor) -> Tensor:
    """int64 [n] in [0, 2^53), of the keystream of each device under the salt."""
    words = Draws(subkey(bytes.fromhex(salt), "evaluation"), numbers).words(2).long() & 0xFFFFFFFF  # [n, 2]
    return (words[:, 0] << (BITS - 32)) | (words[:, 1] >> (64 - BITS))
