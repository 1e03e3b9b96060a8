"""The random numbers of decoding: u(seed, prompt, position, row), one generator for each prompt and position.

`uniforms` is the definition. Every token needs those of all prompts at once, and to make a numpy generator for each
of many costs more than a small model's step. `uniform_table` computes the same numbers: the hash by which
`numpy.random.SeedSequence` turns entropy into a seed runs over all prompts in one pass, and a single PCG64 is set to
one state after the other. Both algorithms are frozen by numpy's promise of reproducible streams; a test compares.

Shapes: P prompts, n rows of each, W words of entropy.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from simulate.montecarlo import generator
from theory.validate import Array

Words = NDArray[np.uint32]

#: u stays below 1 by so much that u·total < total in float64: no token beyond the last is ever taken.
BELOW_ONE = 1.0 - 2.0**-50
#: Constants of numpy's SeedSequence (O'Neill, "Developing a seed_seq alternative") and of PCG64.
POOL, INIT_A, MULT_A, INIT_B, MULT_B = 4, 0x43B0D7E5, 0x931E8875, 0x8B51F9DD, 0x58F38DED
MIX_LEFT, MIX_RIGHT = np.uint32(0xCA01F9DD), np.uint32(0x4973F715)
PCG_MULTIPLIER = 0x2360ED051FC65DA44385DF649FCCF645
MASK32, MASK128 = (1 << 32) - 1, (1 << 128) - 1
#: Prompts from which on the pass over all of them is worth its some hundred small array operations.
MANY = 16


def uniforms(seed: int, prompt: int, position: int, n: int) -> Array:
    """u (n,) in [0, 1): entry i depends on (seed, prompt, position, i) alone, not on n."""
    return generator(seed, "token", prompt, position).random(n) * BELOW_ONE


def uniform_table(seed: int, prompts: Sequence[int], position: int, n: int) -> Array:
    """u (P, n): row p is `uniforms(seed, prompts[p], position, n)`, bit for bit."""
    if len(prompts) < MANY:
        return np.stack([uniforms(seed, prompt, position, n) for prompt in prompts])
    entropy = _entropy(seed, prompts, position)
    source = np.random.PCG64(0)
    stream, table = np.random.Generator(source), np.empty((len(prompts), n))
    for own, words in zip(table, _generated(_mixed(entropy)).tolist(), strict=True):
        # four 64-bit numbers, each low word first: start (high, low) and stream (high, low) of PCG64
        a, b, c, d = (words[i] | words[i + 1] << 32 for i in (0, 2, 4, 6))
        increment = ((c << 64 | d) << 1 | 1) & MASK128
        state = ((increment + (a << 64 | b)) * PCG_MULTIPLIER + increment) & MASK128
        source.state = {
            "bit_generator": "PCG64", "state": {"state": state, "inc": increment}, "has_uint32": 0, "uinteger": 0,
        }  # fmt: skip
        stream.random(out=own)
    return table * BELOW_ONE


def _entropy(seed: int, prompts: Sequence[int], position: int) -> Words:
    """(P, W) what `simulate.montecarlo.generator` hands to SeedSequence: the seed, filled up, and four hashed words."""
    seed_words = [seed >> 32 * i & MASK32 for i in range(max(POOL, -(-seed.bit_length() // 32)))]
    keys = b"".join(hashlib.sha256(f"token\x1f{p}\x1f{position}".encode()).digest()[:16] for p in prompts)
    hashed = np.frombuffer(keys, dtype="<u4").reshape(len(prompts), 4)
    return np.concatenate([np.tile(np.array(seed_words, np.uint32), (len(prompts), 1)), hashed], axis=1)


class _Hash:
    """SeedSequence's hash of a word, whose constant moves on with every use."""

    def __init__(self, start: int, multiplier: int) -> None:
        self.constant, self.multiplier = start, multiplier

    def __call__(self, value: Words) -> Words:
        value = value ^ np.uint32(self.constant)
        self.constant = self.constant * self.multiplier & MASK32
        value = value * np.uint32(self.constant)
        return value ^ value >> np.uint32(16)


def _mixed(entropy: Words) -> Words:
    """(P, POOL) SeedSequence.mix_entropy."""
    hashed = _Hash(INIT_A, MULT_A)
    pool = [hashed(entropy[:, i]) for i in range(POOL)]
    for source in range(POOL):
        for target in range(POOL):
            if source != target:
                pool[target] = _mix(pool[target], hashed(pool[source]))
    for i in range(POOL, entropy.shape[1]):
        for target in range(POOL):
            pool[target] = _mix(pool[target], hashed(entropy[:, i]))
    return np.stack(pool, axis=1)


def _mix(one: Words, other: Words) -> Words:
    mixed = one * MIX_LEFT - other * MIX_RIGHT
    return mixed ^ mixed >> np.uint32(16)


def _generated(pool: Words) -> Words:
    """(P, 8) SeedSequence.generate_state: the words of PCG64's seed."""
    hashed = _Hash(INIT_B, MULT_B)
    return np.stack([hashed(pool[:, i % POOL]) for i in range(8)], axis=1)
