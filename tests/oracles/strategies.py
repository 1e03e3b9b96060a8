"""Hypothesis strategies: random populations, policies and antisymmetric games."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from theory.bradley_terry import Population

#: Utilities with the ends of the range and ties over-represented: that is where rules break.
utilities = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.floats(0.0, 1.0, allow_subnormal=False))
bt_betas = st.floats(0.05, 30.0)


@st.composite
def distributions(draw: st.DrawFn, size: int, smallest: float = 1e-3) -> np.ndarray:
    """A probability vector with full support."""
    raw = np.array(draw(st.lists(st.floats(smallest, 1.0), min_size=size, max_size=size)))
    return raw / raw.sum()


@st.composite
def populations(draw: st.DrawFn, max_types: int = 4, max_alternatives: int = 5) -> Population:
    """One to four types over two to five alternatives, at least one utility positive."""
    V = draw(st.integers(1, max_types))
    A = draw(st.integers(2, max_alternatives))
    U = np.array(draw(st.lists(st.lists(utilities, min_size=A, max_size=A), min_size=V, max_size=V)))
    U[0, 0] = max(U[0, 0], 0.1)
    return Population(U, draw(distributions(V)))
