"""The random numbers of decoding: u(seed, prompt, position, row), from a counter-based generator.

Philox (Salmon et al., SC 2011, "Parallel random numbers: as easy as 1, 2, 3") maps a key and a counter to numbers. Its
key is made of the seed, prompt and position stand in the counter, and rows are what follows: a number depends on these
four alone, not on how many rows there are, nor on which prompts are asked for with it.

Shapes: P prompts, n rows of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from simulate.montecarlo import generator
from theory.validate import Array

#: u stays below 1 by so much that u·total < total in float64: no token beyond the last is ever taken.
BELOW_ONE = 1.0 - 2.0**-50


@lru_cache(maxsize=8)
def _key(seed: int) -> tuple[int, int]:
    first, second = generator(seed, "token").bit_generator.seed_seq.generate_state(2, np.uint64).tolist()
    return first, second


def decoding_seed(seed: int, *words: str | int | float) -> int:
    """The seed of one run of the decoder, which depends on (seed, words) alone."""
    return int(generator(seed, *words).integers(2**31))


def uniforms(seed: int, prompts: Sequence[int], position: int, n: int) -> Array:
    """u (P, n) in [0, 1): entry (p, i) depends on (seed, prompts[p], position, i) alone."""
    source, table = np.random.Philox(key=_key(seed)), np.empty((len(prompts), n))
    state, stream = source.state, np.random.Generator(source)
    for own, prompt in zip(table, prompts, strict=True):
        state["state"]["counter"] = np.array((0, position, prompt, 0), np.uint64)  # as in one just made
        source.state = state
        stream.random(out=own)
    return table * BELOW_ONE
