"""How long a piece of each kind of work takes on this very device: a few real steps of each, through the real code.

Every kind of `plan_work.KINDS` that a run needs is done for a fraction of a second, at one size or at two, where its
time grows with size. On a CPU and a small model that is some seconds in all; where a step on a whole batch would take
long, a part of the batch stands for it. Weights are copied before they are trained. A step of pretraining is not
compiled, since that would take longer than the calibration: where pretraining is, its estimate is from above.

Shapes: T tokens of a response, M rows of a pool.
"""

from __future__ import annotations

import copy
import itertools
import json
import tempfile
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llm_validation.aligner.aligner import Fit, draw_from, fit, sample_corrections, sample_upstream
from llm_validation.aligner.edit_process import Problem, edit_problem
from llm_validation.catalogue.texts import Encoded, encode_catalogue, story_catalogue
from llm_validation.catalogue.train import Schedule, Task, train_side_by_side
from llm_validation.generation.decode import Sampling, best_of_n
from llm_validation.generation.scorers import Batch
from llm_validation.generation_effort import Context as Generation
from llm_validation.model.model import autocast, load, save
from llm_validation.pretraining.config import Pretraining
from llm_validation.pretraining.held_out import token_losses
from llm_validation.rewards.comparisons import Comparison, streams, utility
from llm_validation.rewards.model import Explained, RewardTraining, from_language_model, train_reward_model
from llm_validation.runs.best_of_n import Pool, predict
from llm_validation.runs.best_of_n_laws import MeasuredRows
from llm_validation.text.corpus import pack
from llm_validation.text.language import STORIES
from llm_validation.training.device import synchronize
from simulate.montecarlo import generator
from simulate.rows.store import replace_file
from theory.validate import Array

#: Seconds that a kind's timed steps take, about, most steps of them, and seconds of a step after which it is not
#: measured again.
SECONDS, STEPS, LONG = 0.3, 40, 0.5
#: Rows that write side by side in the two measurements of decoding.
ROWS = {"cpu": (32, 256), "cuda": (512, 4096)}


@dataclass(frozen=True)
class Line:
    """Seconds of a piece of work: fixed + each · size."""

    fixed: float
    each: float = 0.0

    def at(self, size: float) -> float:
        return self.fixed + self.each * size

    @staticmethod
    def through(sizes: tuple[float, float], seconds: tuple[float, float]) -> Line:
        """The line through two measurements; neither part is negative."""
        each = max(0.0, (seconds[1] - seconds[0]) / (sizes[1] - sizes[0]))
        return Line(max(0.0, seconds[0] - each * sizes[0]), each)


@dataclass(frozen=True, eq=False)
class Bench:
    """What is measured with.

    model         on the device; it stays as it is
    pretraining, generation    the profile's
    seeds         of a run that are trained as one stack
    base          folder or name of the model on disk; None: not there yet
    """

    model: Any
    tokenizer: Any
    pretraining: Pretraining
    generation: Generation
    seeds: int = 1
    base: str | Path | None = None

    @property
    def device(self) -> torch.device:
        found: torch.device = next(self.model.parameters()).device
        return found

    @property
    def room(self) -> int:
        """The model's context, in tokens."""
        return int(getattr(self.model.config, "max_position_embeddings", None) or 10**9)

    @property
    def length(self) -> int:
        """T."""
        return min(self.generation.best_of_n.length, self.room - 1)

    def text(self, length: int, shift: int = 0) -> tuple[int, ...]:
        """Some tokens, the end of a text first."""
        numbers = (np.arange(length - 1) * 7 + shift) % len(self.tokenizer)
        return (self.tokenizer.eos_token_id, *numbers.tolist())


def calibrate(bench: Bench, kinds: Collection[str]) -> dict[str, Line]:
    """Kind → seconds of a piece, for these kinds (and those that are measured along with them)."""
    lines: dict[str, Line] = {}
    for group, measure in MEASURES:
        if set(group) & set(kinds):
            lines |= measure(bench)
    return lines


@dataclass(frozen=True)
class Kept:
    """Measurements of an earlier slice in a file; `key` says of which code, device and model they are."""

    path: Path
    key: str

    def read(self) -> dict[str, Line]:
        """What was kept under the key, nothing if that is another one."""
        if not self.path.exists():
            return {}
        found = json.loads(self.path.read_text())
        return {kind: Line(*line) for kind, line in found["lines"].items()} if found["key"] == self.key else {}

    def write(self, lines: Mapping[str, Line]) -> None:
        """Keep these in place of what is there."""
        found = {"key": self.key, "lines": {kind: [line.fixed, line.each] for kind, line in sorted(lines.items())}}
        replace_file(self.path, json.dumps(found, indent=1) + "\n")


def lines_for(bench: Bench, kinds: Collection[str], kept: Kept | None) -> dict[str, Line]:
    """What was kept, and calibrations of the kinds that are missing, which are kept too."""
    known = {} if kept is None else kept.read()
    missing = set(kinds) - known.keys()
    if missing:
        known |= calibrate(bench, missing)
        if kept is not None:
            kept.write(known)
    return known


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    synchronize(device)
    began = time.perf_counter()
    work()
    synchronize(device)
    return time.perf_counter() - began


def _per_step(steps: Callable[[int], object], device: torch.device) -> float:
    """Seconds of a step, from work that takes a number of steps: what it costs to begin is left out, if it can be."""
    first = _seconds(lambda: steps(1), device)
    if first > 4 * LONG:
        return first
    few = _seconds(lambda: steps(1), device)
    count = int(min(STEPS, max(3, SECONDS / max(few, 1e-6))))
    return max(_seconds(lambda: steps(1 + count), device) - few, 1e-6) / count


def _for_batch(step: Callable[[int], float], batch: int) -> float:
    """Seconds of a step on `batch` rows, from as many of them as fit and do not take long: such a device is busy."""
    rows, found = 1, 0.0
    while True:
        try:
            found = step(rows) * batch / rows
        except torch.OutOfMemoryError:
            if not found:
                raise
            return found
        if rows == batch or found * rows / batch > LONG:
            return found
        rows = min(batch, 8 * rows)


# training


def _texts(bench: Bench) -> dict[str, Line]:
    def work() -> None:
        pack(STORIES.sample(generator(0, "plan"), 1000), bench.tokenizer, bench.pretraining.context)

    return {"text": Line(_seconds(work, torch.device("cpu")) / 1000)}


def _pretraining(bench: Bench) -> dict[str, Line]:
    B, T = bench.pretraining.batch, bench.pretraining.context
    ids = torch.arange(B * T, device=bench.device).remainder(len(bench.tokenizer)).view(B, T)
    return {"pretraining": Line(_for_batch(lambda rows: _pretraining_step(bench, ids[:rows]), B))}


def _pretraining_step(bench: Bench, ids: Tensor) -> float:
    model = copy.deepcopy(bench.model).train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=bench.pretraining.rate, fused=True)

    def steps(count: int) -> None:
        for _ in range(count):
            optimiser.zero_grad(set_to_none=True)
            with autocast(bench.device):
                loss = token_losses(model, ids).mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), bench.pretraining.clip)
            optimiser.step()
            float(loss.detach())

    return _per_step(steps, bench.device)


def _loading(bench: Bench) -> dict[str, Line]:
    if bench.base is not None:
        load(bench.base)
        return {"load": Line(_seconds(lambda: load(str(bench.base)), bench.device))}
    with tempfile.TemporaryDirectory() as folder:
        save(bench.model, bench.tokenizer, Path(folder) / "model")
        load(Path(folder) / "model")
        return {"load": Line(_seconds(lambda: load(Path(folder) / "model"), bench.device))}


def _training(bench: Bench) -> dict[str, Line]:
    """Per seed of the stack: what a training takes to begin and end, and a step by positions of its trees."""
    encoded = encode_catalogue(story_catalogue(16, 8, generator(0, "plan")), bench.tokenizer, bench.room)
    sizes, seconds, start = [], [], 0.0
    for prompts in (4, 16):
        size, step, start = _catalogue_step(bench, encoded, prompts, bench.seeds)
        sizes.append(size)
        seconds.append(step / bench.seeds)
    line = Line.through((sizes[0], sizes[1]), (seconds[0], seconds[1]))
    return {"training": line, "start": Line(start / bench.seeds)}


def _catalogue_step(bench: Bench, encoded: Encoded, prompts: int, seeds: int) -> tuple[float, float, float]:
    """Positions of the trees, seconds of a step on them, and of a training besides its steps."""
    trie = encoded.trie(range(prompts)).to(bench.device)

    def objective(_: int, logs: Tensor) -> Tensor:
        return (logs.exp() * logs).sum(-1).mean()

    def trained(steps: int) -> tuple[float, float]:
        models = [copy.deepcopy(bench.model) for _ in range(seeds)]
        tasks = [Task(model, trie, objective, Schedule(steps=steps, rate=1e-6), name="plan") for model in models]
        found: list[Any] = []
        whole = _seconds(lambda: found.extend(train_side_by_side(tasks)), bench.device)
        return found[0].seconds, whole - found[0].seconds

    count = 2
    inside, start = trained(count)
    if inside < 4 * LONG:
        count = int(min(STEPS, max(5, count * SECONDS / inside)))
        inside, start = trained(count)
    return float(trie.tokens.numel()), inside / count, start


# open generation


def _nothing(batch: Batch) -> Array:
    return np.zeros(batch.rows.size)


def _decoding(bench: Bench) -> dict[str, Line]:
    """A few tokens in the middle of a response; what its beginning costs is taken off."""
    more = min(8, bench.length // 2)
    prompt = bench.text(bench.length // 2 + 1 - more // 2)
    rows = ROWS[bench.device.type]

    def written(count: int, tokens: int) -> float:
        prompts = [prompt] * max(1, count // 64)
        with autocast(bench.device):
            sampling = Sampling(tokens, ())
            spent = best_of_n(bench.model, prompts, count // len(prompts), _nothing, sampling, seed=0).spent
        return spent.seconds - spent.scoring

    def step(count: int) -> float:
        return max(1e-6, written(count, 1 + more) - written(count, 1)) / more

    step(rows[0])
    return {"decoding": Line.through(rows, (step(rows[0]), step(rows[1])))}


def _reward(bench: Bench) -> dict[str, Line]:
    effort, texts = bench.generation.best_of_n, [bench.text(bench.length + 1, shift) for shift in range(256)]
    pairs = [Comparison(one, two, 1) for one, two in itertools.pairwise(texts)]

    def step(rows: int) -> float:
        how = lambda count: RewardTraining(count, rows, effort.reward.rate)
        return _per_step(lambda count: train_reward_model(bench.model, pairs, how(count), 0), bench.device)

    reader = from_language_model(bench.model)
    reader.prefix_scores(texts[:2])
    read = _for_batch(lambda rows: _seconds(lambda: reader.prefix_scores(texts[:rows]), bench.device), len(texts))
    reading = Line(read / (len(texts) * (bench.length + 1)))
    return {"reward": Line(_for_batch(step, effort.reward.batch)), "reading": reading}


def _streams(bench: Bench) -> dict[str, Line]:
    def work() -> None:
        for text in streams(bench.tokenizer, 30, bench.length, generator(0, "plan")):
            utility(bench.tokenizer.decode(text))

    return {"stream": Line(_seconds(work, torch.device("cpu")) / 30)}


def _prediction(_: Bench) -> dict[str, Line]:
    """Mean of all quantities, with two replicates."""
    quantities, sizes = ("best", "reward", "reward_law", "survival", "survival_law"), (256, 1024)

    def one(M: int) -> float:
        rng = generator(0, "plan")
        path = np.cumsum(rng.standard_normal((M, 4)), axis=1)
        v = np.array([0.25, 0.5, 0.75])
        pool = Pool(MeasuredRows.of(path[:, :-1], path[:, -1]), Explained(v, v, v, np.stack([v, v])))
        work = lambda: [predict(pool, 16, quantity, 0) for quantity in quantities]
        return _seconds(work, torch.device("cpu")) / (3 * len(quantities))

    one(sizes[0])
    return {"prediction": Line.through(sizes, (one(sizes[0]), one(sizes[1])))}


def _corrections(bench: Bench) -> dict[str, Line]:
    effort, problem = bench.generation.correction, edit_problem(bench.tokenizer, bench.room)
    process = problem.process
    draw = draw_from(process.prompts, process.policies, process.kernels)

    def of(rows: int, sees_original: bool) -> float:
        def steps(count: int) -> None:
            how = Fit(count, rows, 1e-6)
            fit(bench.model, problem, draw, how, 0, sees_original=sees_original, name="plan")

        return _per_step(steps, bench.device)

    def step(sees_original: bool) -> Line:
        return Line(_for_batch(lambda rows: of(rows, sees_original), effort.batch))

    _, pairs, _ = _catalogue_step(bench, Encoded(problem.prompts, problem.answers), len(problem.prompts), 1)
    return {"aligner": step(True), "answering": step(False), "pairs": Line(pairs), **_sampling(bench, problem)}


def _sampling(bench: Bench, problem: Problem) -> dict[str, Line]:
    few, many = ROWS[bench.device.type]
    sizes = (few // 2, many // 2)

    def answers(count: int) -> float:
        prompt = np.arange(count) % len(problem.prompts)
        return _seconds(lambda: sample_upstream(bench.model, problem, prompt, 0), bench.device)

    def corrections(count: int) -> float:
        prompt, original = np.arange(count) % len(problem.prompts), np.arange(count) % problem.n_answers
        return _seconds(lambda: sample_corrections(bench.model, problem, prompt, original, 0), bench.device)

    return {
        "sampled answers": Line.through(sizes, (answers(sizes[0]), answers(sizes[1]))),
        "sampled corrections": Line.through(sizes, (corrections(sizes[0]), corrections(sizes[1]))),
    }


#: Kinds of work, and what measures them.
MEASURES: tuple[tuple[tuple[str, ...], Callable[[Bench], dict[str, Line]]], ...] = (
    (("text",), _texts),
    (("pretraining",), _pretraining),
    (("load",), _loading),
    (("start", "training"), _training),
    (("stream",), _streams),
    (("reward", "reading"), _reward),
    (("decoding",), _decoding),
    (("prediction",), _prediction),
    (("aligner", "answering", "pairs", "sampled answers", "sampled corrections"), _corrections),
)
