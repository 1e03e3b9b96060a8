"""How often a method tells held-out chosen from rejected, and whether two methods can be told apart by it.

Of pairs: the share whose chosen log-ratio is the larger, a tie half. Of labelled examples: the share of all pairs of a
chosen and a rejected example (the area under the curve), with the error of its placements (DeLong), which is 0 where
they are told apart altogether, by chance or not: whether it is chance is Mann and Whitney's test, exact for few. Two
methods are compared on the same examples: pairs by an exact sign test on those that they decide differently. Examples
that share a prompt (a ranked list is many pairs) count as one: errors and tests are over prompts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import comb
from scipy.stats import binomtest, mannwhitneyu, rankdata, t

from llm_validation.preferences.shown import interval_of
from llm_validation.preferences.trace import Mean
from theory.proximal.feedback import Index
from theory.validate import Array

#: Numbers of the prompts of chosen and rejected examples; None where none is shared.
Groups = tuple[Index, Index] | None
#: Examples of the rarer class, and of both, up to which ranks are tested exactly: more are nearly normal, ties and all.
FEW, LISTED = 8, 1000


@dataclass(frozen=True, eq=False)
class Accuracy:
    """How right a method is: a value in [0, 1] per chosen example, and per rejected one where they are no pairs.

    groups  of both, by `prompt_groups`, where examples share their prompts
    ranks   of independent examples that are no pairs: how likely so large an area is if their scores are alike
    """

    chosen: Array
    rejected: Array | None
    groups: Groups = None
    ranks: float = math.nan

    @classmethod
    def of(cls, chosen: Array, rejected: Array, paired: bool, groups: Groups = None) -> Accuracy:
        """From log-ratios, or any scores."""
        if paired:
            return cls(np.heaviside(chosen - rejected, 0.5), None, groups)
        wins = np.heaviside(chosen[:, None] - rejected, 0.5)
        ranks = math.nan if groups else _rank_test(chosen, rejected)
        return cls(wins.mean(axis=1), wins.mean(axis=0), groups, ranks)

    @property
    def mean(self) -> Mean:
        """The accuracy with its standard error."""
        return _mean(self.chosen, self.rejected, self.groups)

    @property
    def interval(self) -> tuple[float, float]:
        """Of 95 %, honest at 0 and 1; examples of one prompt count as one."""
        sides = [self.chosen, *([] if self.rejected is None else [self.rejected])]
        units = [np.unique(own).size for own in self.groups[: len(sides)]] if self.groups else [s.size for s in sides]
        return interval_of(self.mean, min(units))

    @property
    def by_chance(self) -> float:
        """How likely so much or more, or so little or less, is of a method that tells nothing."""
        if self.rejected is None:
            return _sign_test(self.chosen - 0.5, self.groups)
        found = self.mean
        return _by_spread(replace(found, value=found.value - 0.5)) if self.groups else self.ranks


def difference(one: Accuracy, other: Accuracy) -> tuple[Mean, float]:
    """(accuracy of one less the other's, how likely so large a difference is by chance)."""
    gap = one.chosen - other.chosen
    if one.rejected is None or other.rejected is None:
        return _mean(gap, None, one.groups), _sign_test(gap, one.groups)
    found = _mean(gap, one.rejected - other.rejected, one.groups)
    return found, _by_spread(found)


def _mean(chosen: Array, rejected: Array | None, groups: Groups) -> Mean:
    """Of pairs, or of the area under the curve: its error is that of the mean of one side plus that of the other."""
    if rejected is None:
        return Mean.of(chosen, groups and groups[0])
    both = Mean.sum(chosen, rejected, groups)
    return replace(both, value=0.5 * both.value)


def _sign_test(values: Array, groups: Groups) -> float:
    """Of values, or of their sums in each group."""
    if groups is not None:
        values = np.bincount(groups[0], weights=values).astype(float)
    more, fewer = int((values > 1e-9).sum()), int((values < -1e-9).sum())
    return float(binomtest(more, more + fewer).pvalue) if more + fewer else 1.0


def _rank_test(chosen: Array, rejected: Array) -> float:
    """Mann and Whitney's, two-sided: of all ways to choose as many examples, the share whose mean rank is as far off.

    Ties have their mean rank. For few it is counted, `ways[k, s]` choices of k examples with doubled ranks that sum
    to s: the normal approximation takes two examples told apart from ten alike for one draw in 600, and it is in 66.
    """
    m, size = min(chosen.size, rejected.size), chosen.size + rejected.size
    if m > FEW or size > LISTED or np.isnan(chosen).any() or np.isnan(rejected).any():
        return float(mannwhitneyu(chosen, rejected).pvalue)
    ranks = np.rint(2.0 * rankdata(np.concatenate([chosen, rejected]))).astype(int)
    ways = np.zeros((m + 1, 2 * m * size + 1))
    ways[0, 0] = 1.0
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, :-rank]
    observed = ranks[: chosen.size].sum() if chosen.size == m else ranks[chosen.size :].sum()
    off = np.abs(np.arange(ways.shape[1]) - m * (size + 1))
    return float(ways[m, off >= abs(observed - m * (size + 1))].sum() / comb(size, m))


def _by_spread(gap: Mean) -> float:
    """Student's t. Where all that is independent is alike it may be so by chance, as heads all along, either way."""
    if gap.value == 0.0 or math.isnan(gap.stderr):
        return 1.0
    return float(2.0 * t.sf(abs(gap.value) / gap.stderr, gap.dof)) if gap.stderr > 0.0 else 2.0**-gap.dof
