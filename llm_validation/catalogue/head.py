"""The normaliser of next-token laws under an output head that is not trained.

A vocabulary has some ten thousand rows, and at the nodes of a catalogue nearly all of the mass is on a few thousand of
them. The gradient of log Σ e^{s·w} in the states is the mean row under that law, so that it is summed along with the
law itself: some rows at a time, and never are all logits in memory, nor read again for a backward pass.

Shapes: N nodes, H width, V rows of a head, C edges below a node at most.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

#: Rows at a time: their logits at a few hundred nodes stay in a processor's cache.
ROWS = 4096
#: A row is likely that has at least this probability at some node before training.
LIKELY = 1e-4
#: Steps between two sums over the rows that are not.
REFRESH = 10


class Others:
    """log Σ e^{s·w} (N,) over the rows of a head (V, H) but those below a node, for one set of nodes, step after step.

    On a CPU the rows that some node finds likely are summed in every step. The sum over the rest is taken every
    `REFRESH` steps, and wherever no gradient is asked for; in between it is followed to first order in the states.
    Where training comes to rest that is the whole sum and its whole gradient, so that it rests where it would rest
    under the whole head; laws at its end, and at steps that `REFRESH` divides, are those of the whole head.
    """

    def __init__(self, head: Tensor) -> None:
        self.head, self.step = head.detach(), 0
        self.parts: tuple[Tensor, Tensor, Tensor] | None = None
        self.seen: tuple[Tensor, Tensor, Tensor] | None = None

    def __call__(self, states: Tensor, below: Tensor) -> Tensor:
        """At the states (N, H), with gradient. below (N, C) numbers the rows of each node's edges; −1: no edge."""
        if states.device.type != "cpu":
            return _followed(states, states.detach(), *log_sum(states, self.head, below))
        if self.parts is None:
            self.parts = _divided(states.detach(), self.head, below)
        likely, place, rest = self.parts
        of_likely = _followed(states, states.detach(), *log_sum(states, likely, place))
        if not len(rest):
            return of_likely
        if not states.requires_grad:
            return torch.logaddexp(of_likely, log_sum(states, rest, None)[0])
        if self.seen is None or self.step % REFRESH == 0:
            self.seen = (states.detach(), *log_sum(states, rest, None))
        self.step += 1
        return torch.logaddexp(of_likely, _followed(states, *self.seen))


def _followed(states: Tensor, at: Tensor, value: Tensor, mean: Tensor) -> Tensor:
    """value (N,) and its gradient `mean` (N, H), both at the states `at`, to first order at `states`."""
    return value + ((states - at) * mean).sum(-1)


@torch.no_grad()
def log_sum(states: Tensor, head: Tensor, below: Tensor | None) -> tuple[Tensor, Tensor]:
    """log Σ e^{s·w} (N,) over the rows w of a head but those numbered `below` (N, C), and their mean (N, H)."""
    most, total, mean = states.new_full((len(states), 1), -torch.inf), states.new_zeros(len(states), 1), 0.0 * states
    for first in range(0, len(head), ROWS):
        rows = head[first : first + ROWS].to(states.dtype)
        logits = states @ rows.T
        if below is not None:
            place = below - first
            away = torch.zeros_like(place, dtype=states.dtype)
            away.masked_fill_((place >= 0) & (place < len(rows)), -torch.inf)
            logits.scatter_add_(1, place.clamp_(0, len(rows) - 1), away)
        higher = torch.maximum(most, logits.amax(1, keepdim=True)).clamp_(min=torch.finfo(states.dtype).min)
        kept, weight = torch.exp(most - higher), logits.sub_(higher).exp_()
        most, total = higher, total * kept + weight.sum(1, keepdim=True)
        mean = torch.addmm(mean * kept, weight, rows)
    return (most + total.log())[:, 0], mean / total.clamp(min=torch.finfo(states.dtype).tiny)


def _divided(states: Tensor, head: Tensor, below: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The rows likely at some node or below one, the places of `below` among them, and the other rows."""
    likely = torch.zeros(len(head), dtype=torch.bool)
    log_total = log_sum(states, head, None)[0]
    for first in range(0, len(head), ROWS):
        logits = states @ head[first : first + ROWS].to(states.dtype).T
        likely[first : first + ROWS] = (logits - log_total[:, None]).amax(0) >= math.log(LIKELY)
    likely[below[below >= 0]] = True
    number = torch.full((len(head),), -1)
    number[likely] = torch.arange(int(likely.sum()))
    return head[likely], torch.where(below < 0, -1, number[below]), head[~likely]
