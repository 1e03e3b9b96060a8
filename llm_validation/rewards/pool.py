"""A pool of a model's own responses to one prompt, with the states that it had while it wrote them.

Whatever is measured of Best-of-N and of Speculative Rejection afterwards, for any reward on the text or on the states,
replays these rows: they are written once, and kept in a file.

Shapes: n rows, T tokens, K marks (numbers of tokens read), H width.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_validation.generation.checks import check_cache
from llm_validation.generation.decode import best_of_n
from llm_validation.generation.engine import Sampling
from llm_validation.generation.scorers import no_score
from simulate.rows.store import replace_file
from theory.validate import Array


@dataclass(frozen=True, eq=False)
class Pool:
    """tokens (n, T); states (n, K, H) of the last layer after each mark's tokens; CPU seconds of writing."""

    tokens: NDArray[np.int64]
    states: Array
    seconds: float


def write_pool(model: Any, prompt: Sequence[int], n: int, marks: Sequence[int], seed: int) -> Pool:
    """n responses of exactly T = marks[-1] tokens at temperature 1.

    A token more is written and left out, so that the model has read all T.
    """
    check_cache(model)  # else the first run of a model asks, and the passes that answer would be counted below
    seen: list[NDArray[np.float32]] = []
    calls = 0

    def note(_: Any, __: Any, output: Any) -> None:
        nonlocal calls
        if calls in marks:  # the first call reads the prompt, each later one a token
            seen.append(output.last_hidden_state[:, -1].float().cpu().numpy())
        calls += 1

    began = time.process_time()
    with model.base_model.register_forward_hook(note):
        drawn = best_of_n(model, [prompt], n, no_score, Sampling(marks[-1] + 1, ()), seed=seed)
    return Pool(drawn.tokens[:, :-1], np.stack(seen, axis=1).astype(np.float64), time.process_time() - began)


def kept_pool(path: Path, model: Any, prompt: Sequence[int], n: int, marks: Sequence[int], seed: int) -> Pool:
    """The pool in a file; where there is none it is written, and the file is complete or not there."""
    if not path.exists():
        pool = write_pool(model, prompt, n, marks, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = io.BytesIO()
        np.savez(whole, tokens=pool.tokens, states=pool.states.astype(np.float16), seconds=pool.seconds)
        replace_file(path, whole.getvalue())
    with np.load(path) as kept:
        return Pool(kept["tokens"], kept["states"].astype(np.float64), float(kept["seconds"]))
