"""Who was compared with whom: the graph of every prompt, and the laws of chosen and rejected responses."""

from __future__ import annotations

import numpy as np

from llm_validation.preferences.data import Preferences
from llm_validation.preferences.listed import listed
from theory.proximal.existence import dpo_attained
from theory.proximal.feedback import Index
from theory.validate import Array


def response_numbers(data: Preferences) -> tuple[Index, Index]:
    """Chosen (C,) and rejected (R,) responses by number: equal ones, prompt and completion, have the same."""
    index: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
    one, other = (
        np.array([index.setdefault((e.prompt, e.completion), len(index)) for e in side], dtype=np.int64)
        for side in (data.chosen, data.rejected)
    )
    return one, other


def laws(data: Preferences) -> tuple[Array, Array]:
    """D⁺ and D⁻ over all responses (A,): the share of chosen, and of rejected examples, that each is."""
    one, other = response_numbers(data)
    size = int(max(one.max(), other.max())) + 1
    return np.bincount(one, minlength=size) / one.size, np.bincount(other, minlength=size) / other.size


def dpo_attained_on(data: Preferences) -> tuple[int, int]:
    """(prompts on which DPO attains its infimum, prompts): where every component is strongly connected (P5)."""
    groups = listed(data)
    return sum(dpo_attained(len(group.responses), group.judged) for group in groups), len(groups)
