"""What devices draw, for a whole cohort at once: the ChaCha20 keystream of a key and each device's number.

One value depends on the key, the device and its place in the stream, and on nothing else: not on the chunk,
the node, the order or the processor.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from torch import Tensor

from common.seeding import Key, subkey

DOUBLE_ROUNDS = 10
BLOCK = 16
"""Words of 32 bits that one application of the block function gives."""

_CONSTANTS = struct.unpack("<4i", b"expand 32-byte k")
_CHUNK = 1 << 18
"""Blocks worked out at once: 64 MiB of temporary values."""


@dataclass(frozen=True)
class Draws:
    """The draws of n devices for one purpose in one round.

    Bernstein's ChaCha20: 256 bits of key, BLAKE2b of (run key, round, purpose); nonce, the device's number; a
    64-bit counter of blocks (https://cr.yp.to/chacha/chacha-20080128.pdf).
    key  32 bytes; numbers  int64 [n], on the device on which values are wanted
    """

    key: bytes
    numbers: Tensor

    @staticmethod
    def of(key: Key, round_: int, purpose: str, numbers: Tensor) -> Draws:
        """The draws of devices ``numbers`` int64 [n] for ``purpose`` in a round, from a run's key."""
        return Draws(subkey(key, "draws", purpose, round_), numbers)

    def words(self, count: int) -> Tensor:
        """The first ``count`` words of each stream: int32 [n, count], all 32 bits random."""
        return keystream(self.key, self.numbers, count)

    def uniform(self, *shape: int) -> Tensor:
        """float32 [n, *shape] in [0, 1), multiples of 2^-24."""
        bits = self.words(math.prod(shape)).bitwise_right_shift(8).bitwise_and(0xFFFFFF)
        return (bits * 2.0**-24).view(len(bits), *shape)

    def below(self, bounds: Tensor) -> Tensor:
        """One integer in [0, bound) each: bounds int64 [n] from 1 to 2^31 -> int64 [n].

        ⌊bound · x / 2^63⌋ of 63 bits x, worked out in two halves: uneven by less than 2^-31.
        """
        high, low = (self.words(2).long() & 0xFFFFFFFF).unbind(1)  # 2 x [n]
        high, low = high >> 1, low
        bounds = bounds.to(high.device)
        return (high * bounds + (low * bounds >> 32)) >> 31

    def dropout(self, drop: float, *shape: int) -> Tensor:
        """Multipliers 0 or 1/(1 − p), float32 [n, *shape], with p = ``drop`` rounded to a 65,536th."""
        limit = round(drop * 65536)
        size = math.prod(shape)
        halves = self.words((size + 1) // 2).view(torch.int16)[:, :size]  # [n, size], each even over 16 bits
        kept = halves >= limit - 32768
        return kept.to(torch.float32).mul_(65536 / (65536 - limit)).view(len(kept), *shape)

    def distinct(self, count: int, below: int) -> Tensor:
        """``count`` different integers in [0, below) each, all sets alike: int64 [n, count]. count ≤ below.

        The first different ones of a stream of draws; where nearly all are wanted, the places of the
        smallest of ``below`` words.
        """
        n = len(self.numbers)
        if 4 * count > below:
            step = max(1, _CHUNK * BLOCK // below)
            parts = [Draws(self.key, some).words(below) for some in torch.split(self.numbers, step)]
            sorted_ = [part.argsort(dim=1, stable=True)[:, :count] for part in parts]
            return torch.cat(sorted_) if sorted_ else self.numbers.new_zeros(0, count)
        width = 2 * count + BLOCK
        while True:
            words = self.words(width).long() & 0xFFFFFFFF  # [n, width]
            drawn = (words * below) >> 32  # [n, width]
            ordered, place = drawn.sort(dim=1, stable=True)
            again = torch.zeros_like(drawn, dtype=torch.bool)
            again.scatter_(1, place[:, 1:], ordered[:, 1:] == ordered[:, :-1])  # drawn before
            rank = (~again).cumsum(1)  # [n, width]
            if not n or bool((rank[:, -1] >= count).all()):
                return drawn[~again & (rank <= count)].view(n, count)
            width *= 2


def keystream(key: bytes, numbers: Tensor, count: int) -> Tensor:
    """The first ``count`` words of the stream of each number: int64 [n] -> int32 [n, count].

    key: 32 bytes. On a CPU a library's cipher makes it; elsewhere tensor operations do, with the same bits.
    The stream of a number is prefix-stable: more words begin with the same ones.
    """
    if numbers.device.type == "cpu":
        return _by_cipher(key, numbers, count)
    blocks = -(-count // BLOCK)
    step = max(1, _CHUNK // max(1, blocks))
    parts = [by_tensors(key, some, blocks).flatten(1)[:, :count] for some in torch.split(numbers, step)]
    return torch.cat(parts)


def _by_cipher(key: bytes, numbers: Tensor, count: int) -> Tensor:
    size, zeros = 4 * count, bytes(4 * count)
    stream = bytearray(max(1, len(numbers) * size))
    view = memoryview(stream)
    for place, number in enumerate(numbers.tolist()):
        cipher = Cipher(algorithms.ChaCha20(key, struct.pack("<qq", 0, number)), None).encryptor()
        cipher.update_into(zeros, view[place * size : (place + 1) * size])
    words = torch.frombuffer(stream, dtype=torch.uint8)[: len(numbers) * size]
    return words.view(torch.int32).view(len(numbers), count)


def by_tensors(key: bytes, numbers: Tensor, blocks: int) -> Tensor:
    """The block function at counters 0 to ``blocks`` - 1: nonces int64 [n] -> int32 [n, blocks, 16]."""
    n, where = len(numbers), numbers.device
    initial = torch.empty(16, n, blocks, dtype=torch.int32, device=where)
    for place, word in enumerate((*_CONSTANTS, *struct.unpack("<8i", key))):
        initial[place] = word
    initial[12] = torch.arange(blocks, dtype=torch.int32, device=where)  # [blocks]
    initial[13] = 0
    initial[14] = numbers.to(torch.int32)[:, None]  # the low half
    initial[15] = (numbers >> 32).to(torch.int32)[:, None]
    a, b, c, d = initial.clone().view(4, 4, n * blocks)  # 4 x [4, m]
    for _ in range(DOUBLE_ROUNDS):
        _quarter_rounds(a, b, c, d)  # columns
        b, c, d = b.roll(-1, 0), c.roll(-2, 0), d.roll(-3, 0)
        _quarter_rounds(a, b, c, d)  # diagonals
        b, c, d = b.roll(1, 0), c.roll(2, 0), d.roll(3, 0)
    mixed = torch.cat([a, b, c, d]).view(16, n, blocks).add_(initial)
    return mixed.permute(1, 2, 0)


def _quarter_rounds(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> None:
    """Four quarter rounds side by side, in place; each int32 [4, m]."""
    for x, y, z, bits in ((a, b, d, 16), (c, d, b, 12), (a, b, d, 8), (c, d, b, 7)):
        x += y
        z ^= x
        left = z << bits
        z.bitwise_right_shift_(32 - bits).bitwise_and_((1 << bits) - 1).bitwise_or_(left)
