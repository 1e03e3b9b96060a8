"""What the jobs of a run do, counted before they run: optimiser steps, decoding steps, tokens read, models loaded.

A job is a list of `Work`. Catalogue runs train for multiples of the profile's `runs.steps`; open generation does what
its effort records say. Nothing here is measured, and a test runs every job and counts. Where training may end sooner,
or a reference fit may be repeated, the count is of one full schedule.

Shapes: T tokens of a response, J decisions.
"""

from __future__ import annotations

from dataclasses import dataclass

from llm_validation.generation_effort import BestOfNEffort, CorrectionEffort
from llm_validation.pretraining.config import Pretraining
from llm_validation.profiles import Profile
from llm_validation.runs import divergences, separation
from llm_validation.runs.best_of_n import ALPHA, decision_times
from llm_validation.runs.correction import DISTILLATIONS, ROUNDS, TEMPERATURES
from llm_validation.runs.proximal import N_PROMPTS
from llm_validation.runs.reward_fit import LENGTH_FACTOR
from theory.best_of_n.evolution import survivor_counts
from theory.language_model_settings import (
    DPO_INSTANCES,
    FITTED_BETA,
    FIXED,
    INSTANCES,
    MINIBATCHED,
    SAFETY_LOSSES,
    SAFETY_PROMPTS,
    UNPAIRED,
)

#: Kind of work → what is done once, and what its time grows with (`size`).
KINDS = {
    "text": "a story drawn and packed for pretraining",
    "pretraining": "an optimiser step of pretraining",
    "load": "a model read from disk",
    "start": "a training begun: its optimiser, its CUDA graph, the policy at its end",
    "training": "an optimiser step on a catalogue; size: positions of its prefix trees",
    "stream": "a text for comparisons, with its utility",
    "reward": "an optimiser step of a reward model",
    "decoding": "a token for every row; size: rows",
    "reading": "a token scored",
    "prediction": "a predicted number from a pool and from each of its replicates; size: rows of the pool",
    "aligner": "an optimiser step on corrections, the original in sight",
    "answering": "an optimiser step on answers",
    "pairs": "an optimiser step on all pairs of corrections",
    "sampled answers": "answers written, all side by side; size: how many",
    "sampled corrections": "corrections written, all side by side; size: how many",
}


@dataclass(frozen=True)
class Work:
    """`times` pieces of work of one kind (`KINDS`), each of `size`."""

    kind: str
    times: float
    size: float = 1.0


#: Run on the shared catalogue → its trainings: steps in units of the profile's `runs.steps`, and prompts.
TRAININGS: dict[str, tuple[tuple[int, int], ...]] = {
    "distortion": ((LENGTH_FACTOR, len(INSTANCES)), *[(1, len(INSTANCES))] * 3, (1, len(DPO_INSTANCES))),
    "distortion_sampled": ((1, len(DPO_INSTANCES)),) * 2,
    "pro_pairwise": ((1, N_PROMPTS),) * 3,
    "pro_binary": ((1, N_PROMPTS),),
    "pro_imbalanced": ((1, N_PROMPTS),),
    "pro_scalar": ((1, N_PROMPTS),),
    "pro_tables": ((1, N_PROMPTS),) * 2,
    "pro_dpo_form": ((1, N_PROMPTS),),
    **{f"{name}_fitted": ((divergences.LONGER.get(name, 1), len(divergences.PROMPTS)),) for name in FITTED_BETA},
    **{f"{name}_fixed": ((1, len(divergences.PROMPTS)),) for name in FIXED},
    **{f"{name}_minibatch": ((1, len(divergences.PROMPTS)),) for name in MINIBATCHED},
    "density_ratio": (*[(1, len(UNPAIRED))] * 3, (1, 1)),
}
#: Steps of the single training of `separation.normaliser`.
NORMALISER_STEPS = 30


def trainings(run: str, profile: Profile) -> tuple[tuple[int, int], ...]:
    """(optimiser steps, prompts) of every training of a run on a catalogue. KeyError for a run without a count."""
    steps = profile.runs.steps
    if run == "separation":
        return ((min(separation.STEPS, steps), 2 * SAFETY_PROMPTS),) * (2 * len(SAFETY_LOSSES))
    if run == "kldo_normaliser":
        return ((NORMALISER_STEPS, 2 * SAFETY_PROMPTS),)
    if run == "people":
        P = len(profile.betas)
        return ((LENGTH_FACTOR * steps, P), *[(steps, P)] * 3)
    return tuple((times * steps, prompts) for times, prompts in TRAININGS[run])


def run_work(run: str, profile: Profile, width: int) -> list[Work]:
    """A run on a catalogue whose packed prompts have `width` positions each: it loads the base and fresh references."""
    trained = trainings(run, profile)
    return [
        Work("load", 1 + len(trained)),
        Work("start", len(trained)),
        *(Work("training", steps, prompts * width) for steps, prompts in trained),
    ]


def fit_work(profile: Profile, prompts: int, width: int) -> list[Work]:
    """A reference fit, if one round is enough."""
    return [Work("load", 1), Work("start", 1), Work("training", profile.fit.steps, prompts * width)]


def pretraining_work(config: Pretraining, steps_done: int, *, language: bool) -> list[Work]:
    """What is left of pretraining; texts are prepared again whenever it goes on."""
    return [Work("pretraining", config.steps - steps_done), Work("text", config.stories if language else 0)]


# open generation


def best_of_n_work(effort: BestOfNEffort, length: int) -> list[Work]:
    """`measure_best_of_n` with responses of `length` tokens."""
    held_out, groups = max(3, effort.streams // 5), max(1, effort.pool // 64)
    small = max(2, effort.pool // 128)
    work = [Work("load", 1), Work("stream", effort.streams), Work("reward", effort.reward.steps)]
    work += [Work("reading", (held_out + 64 * groups) * (length + 1))]  # comparisons held out, and v(t) of the pool
    work += _best_of_n(effort, 64, groups, length) + 2 * _best_of_n(effort, 64, 1, length)
    work += 2 * _speculative(effort, 64, 1, length)
    work += _best_of_n(effort, 64, small, length) + _speculative(effort, 64, small, length)
    for n, rows in zip(effort.sizes, effort.rows, strict=True):
        work += _best_of_n(effort, n, max(2, rows // n), length) + _speculative(effort, n, max(2, rows // n), length)
    predictions = 6 * len(effort.sizes) + 1 - sum(n <= 4 for n in effort.sizes)
    return [*work, Work("prediction", predictions * (effort.replicates + 1), 64 * groups)]


def _batches(effort: BestOfNEffort, n: int, groups: int) -> list[tuple[float, int]]:
    """(how many batches, rows of each) in which groups of n are written."""
    at_once = max(1, effort.at_once // n)
    whole, rest = divmod(groups, at_once)
    return [(times, rows * n) for times, rows in ((whole, at_once), (1, rest)) if times and rows]


def _best_of_n(effort: BestOfNEffort, n: int, groups: int, length: int) -> list[Work]:
    decoding = [Work("decoding", times * length, rows) for times, rows in _batches(effort, n, groups)]
    return [*decoding, Work("reading", groups * n * (length + 1))]


def _speculative(effort: BestOfNEffort, n: int, groups: int, length: int) -> list[Work]:
    """Rows that are rejected write and are read no further."""
    ends = [*decision_times(length), length]
    spans = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
    alive = survivor_counts(n, 1.0 - ALPHA, len(ends) - 1)
    work = [
        Work("decoding", times * span, rows * left / n)
        for times, rows in _batches(effort, n, groups)
        for span, left in zip(spans, alive, strict=True)
    ]
    tokens = sum(span * left for span, left in zip(spans, alive, strict=True))
    return [*work, Work("reading", groups * (n + tokens))]


def correction_work(effort: CorrectionEffort) -> list[Work]:
    """`measure_correction`; its warm-up, which ends as soon as copying is learnt, at its longest."""
    upstreams = 4 + len(TEMPERATURES)  # the training law, a weak one, that one hot, corrections; the first at others
    return [
        Work("load", 1),
        Work("aligner", effort.warmup + 2 * effort.steps),
        Work("answering", effort.steps + (2 + DISTILLATIONS) * effort.further_steps),
        Work("pairs", 3 * effort.steps),
        Work("sampled answers", upstreams + 1, effort.samples),
        Work("sampled corrections", upstreams + max(ROUNDS), effort.samples),
    ]
