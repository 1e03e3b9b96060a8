"""Seeds as one stack, parts of a tree that does not fit, a model divided among processes: the numbers of one alone."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest
import torch

from llm_validation.catalogue import passes as tree_passes
from llm_validation.catalogue.passes import Passes, PolicyReader
from llm_validation.catalogue.stacked_seeds import run_stacked
from llm_validation.catalogue.texts import Encoded, encode_catalogue, story_catalogue
from llm_validation.catalogue.train import Task, Trained, train_one, train_stacked
from llm_validation.model.model import build
from llm_validation.text.corpus import train_tokenizer
from llm_validation.text.language import STORIES
from llm_validation.training.loop import TrainingDiverged
from llm_validation.training.memory import TooLittleMemory
from llm_validation.training.schedule import Schedule
from simulate.montecarlo import generator
from tests.processes import two_processes

SHORT = Schedule(steps=12, rate=1e-3, record=4)
#: Nats: float32, batched products against single ones, after a dozen steps. AdamW's first steps have the same size
#: however small a gradient is, so that rounding shows wherever one is nearly zero.
TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(STORIES.sample(generator(0, "documents"), 500), 300)


def catalogue(tokenizer, seed: int, prompts: int = 4) -> Encoded:
    """Trees whose shapes depend on the seed."""
    return encode_catalogue(story_catalogue(prompts, 8, generator(seed, "texts")), tokenizer, 64)


def policy_task(tokenizer, seed: int, *, prompts: int = 4, **changes) -> Task:
    law = torch.tensor(generator(seed, "law").dirichlet(np.ones(9), prompts), dtype=torch.float32)
    shift = torch.zeros(prompts, requires_grad=True)

    def objective(_: int, logs: torch.Tensor) -> torch.Tensor:
        return -(law * logs).sum(-1).mean() + (shift - logs[:, 0].detach()).square().mean()

    task = {
        "model": build("smoke", len(tokenizer), 64, seed=seed),
        "trie": catalogue(tokenizer, seed, prompts).trie(),
        "objective": objective,
        "schedule": SHORT,
        "extra": (shift,),
    }
    return Task(**{**task, **changes})


def reward_task(tokenizer, seed: int) -> Task:
    wanted = torch.tensor(generator(seed, "rewards").normal(0.0, 0.3, size=(4, 8)), dtype=torch.float32)
    return policy_task(
        tokenizer, seed, extra=(), head=torch.full((32,), 0.1),
        objective=lambda _, rewards: (rewards - wanted).square().mean(),
    )  # fmt: skip


def assert_same(one: Trained, other: Trained) -> None:
    assert np.abs(one.path - other.path).max() < TOLERANCE
    assert np.allclose(one.loss, other.loss, rtol=1e-4)
    assert np.allclose(one.grad_norm, other.grad_norm, rtol=1e-2, equal_nan=True)
    for mine, theirs in zip(one.extra, other.extra, strict=True):
        assert np.allclose(mine, theirs, atol=1e-5)
    assert np.abs(one.path[-1] - one.path[0]).max() > 0.03  # something was trained


@pytest.mark.parametrize("make", [policy_task, reward_task])
def test_a_stack_trains_every_seed_as_if_alone(tokenizer, make):
    alone = [make(tokenizer, seed) for seed in range(3)]
    stacked = [make(tokenizer, seed) for seed in range(3)]
    assert len({task.trie.tokens.shape for task in stacked}) > 1  # trees of different shapes are filled up
    results = train_stacked(stacked)
    for one, other, result in zip(alone, stacked, results, strict=True):
        assert_same(train_one(one), result)
        for mine, theirs in zip(one.model.parameters(), other.model.parameters(), strict=True):
            assert torch.allclose(mine, theirs, atol=1e-3)  # written back


def test_tokens_are_the_trees_times_the_steps(tokenizer):
    tasks = [policy_task(tokenizer, seed, schedule=Schedule(steps=2, record=1)) for seed in range(2)]
    assert [run.tokens for run in train_stacked(tasks)] == [2 * task.trie.tokens.numel() for task in tasks]


def test_training_ends_at_the_first_loss_of_all_seeds_that_is_low_enough(tokenizer):
    """What is recorded then is a run of so many steps: its beginning is that of one that goes on to its end."""
    falls = {"objective": lambda _, logs: -logs[:, :-1].mean(), "extra": ()}
    make = lambda stop_below: [policy_task(tokenizer, seed, stop_below=stop_below, **falls) for seed in range(2)]
    full, never, at_once = (train_stacked(make(bound)) for bound in (-math.inf, 0.0, 1e3))
    assert full[0].step.tolist() == never[0].step.tolist() == [0, 4, 8, 12]
    between = 0.5 * (max(run.loss[1] for run in full) + max(run.loss[2] for run in full))
    for run, whole in zip(train_stacked(make(between)), full, strict=True):
        assert run.step[:2].tolist() == [0, 4]
        assert 4 < run.step[-1] <= 9
        assert run.tokens == whole.tokens * run.step[-1] / 12
        np.testing.assert_array_equal(run.path[:2], whole.path[:2])
    assert [run.step.tolist() for run in at_once] == [[0, 1]] * 2
    assert train_one(make(1e3)[0]).step.tolist() == [0, 1]


def test_gradients_are_clipped_seed_by_seed(tokenizer):
    """One seed's large gradient does not scale down another's."""
    loud = policy_task(tokenizer, 1)
    tasks = [
        policy_task(tokenizer, 0),
        Task(**{**vars(loud), "objective": lambda t, logs: 100 * loud.objective(t, logs)}),
    ]
    quiet = train_stacked(tasks)[0]
    assert_same(train_one(policy_task(tokenizer, 0)), quiet)


def test_tasks_of_different_shapes_are_refused(tokenizer):
    tasks = [policy_task(tokenizer, 0), policy_task(tokenizer, 0, schedule=Schedule(steps=3))]
    with pytest.raises(ValueError, match="different shapes"):
        train_stacked(tasks)


def test_the_seed_that_diverges_is_named(tokenizer):
    nothing = lambda _, logs: logs.sum() * float("nan")
    tasks = [policy_task(tokenizer, 0, name="broken"), policy_task(tokenizer, 1, name="broken", objective=nothing)]
    with pytest.raises(TrainingDiverged, match=r"broken \(seed 1 of 2 stacked\): step 0 of 12 has loss nan"):
        train_stacked(tasks)


# Runs in threads


def test_runs_meet_for_their_trainings(tokenizer, monkeypatch):
    """Two trainings each, one of them by some seeds only; whoever is through is not waited for."""
    sizes = []
    together = train_stacked

    def counted(tasks):
        sizes.append(len(tasks))
        return together(tasks)

    monkeypatch.setattr("llm_validation.catalogue.stacked_seeds.train_stacked", counted)

    def run(seed, trainer):
        first = trainer(policy_task(tokenizer, seed))
        second = trainer(policy_task(tokenizer, seed + 10)) if seed != 1 else None
        return threading.get_ident(), first, second

    found = run_stacked([lambda trainer, seed=seed: run(seed, trainer) for seed in range(3)])
    assert sizes == [3, 2]
    assert len({thread for thread, _, _ in found}) == 3
    for seed, (_, first, second) in enumerate(found):
        assert_same(train_one(policy_task(tokenizer, seed)), first)
        assert (second is None) == (seed == 1)


def test_a_run_that_fails_does_not_hold_up_the_others(tokenizer):
    finished = []

    def good(trainer):
        finished.append(trainer(policy_task(tokenizer, 0)))

    def bad(trainer):
        raise RuntimeError("no data")

    with pytest.raises(RuntimeError, match="no data"):
        run_stacked([bad, good])
    assert len(finished) == 1


# Memory


def limited(monkeypatch, most: int) -> None:
    """No pass with gradient holds more than `most` prompts, of all seeds together."""
    whole = tree_passes.states_at

    def states_at(base, tokens, *rest):
        if torch.is_grad_enabled() and tokens.numel() // tokens.shape[-1] > most:
            raise torch.OutOfMemoryError("no memory")
        return whole(base, tokens, *rest)

    monkeypatch.setattr(tree_passes, "states_at", states_at)


@pytest.mark.parametrize("seeds", [1, 2])
def test_too_little_memory_halves_the_prompts_and_changes_nothing(tokenizer, monkeypatch, capsys, seeds):
    alone = [train_one(policy_task(tokenizer, seed, prompts=5)) for seed in range(seeds)]
    limited(monkeypatch, 2)
    tasks = [policy_task(tokenizer, seed, prompts=5, name="tight") for seed in range(seeds)]
    for one, other in zip(alone, train_stacked(tasks), strict=True):
        assert_same(one, other)
    said = capsys.readouterr().err
    assert said.count("tight: too little device memory") == 1
    assert "tight: too little device memory for 5 prompts at a time; again with 2" in said


def test_a_prompt_that_does_not_fit_alone_is_an_error(tokenizer, monkeypatch):
    limited(monkeypatch, 0)
    with pytest.raises(TooLittleMemory, match="a single prompt does not fit"):
        train_one(policy_task(tokenizer, 0))


def test_a_process_among_others_does_not_begin_again(tokenizer, monkeypatch):
    """The others would wait for it for ever."""
    reader, trie = PolicyReader(build("smoke", len(tokenizer), 64, seed=0)), catalogue(tokenizer, 0).trie()
    limited(monkeypatch, 2)
    with pytest.raises(TooLittleMemory, match="shared: 4 prompts per process do not fit"):
        Passes(reader, [reader], [trie], "shared", alone=False).forward()


def test_memory_that_runs_out_on_the_way_back(tokenizer, monkeypatch):
    """The objective is not asked again: what it draws or remembers is one step's."""
    model, calls = build("smoke", len(tokenizer), 64, seed=0), []
    reader, trie = PolicyReader(model), catalogue(tokenizer, 0).trie()
    passes = Passes(reader, [reader], [trie], "back")
    (outputs,) = passes.forward()
    reader.finish(outputs, trie).sum().backward()
    calls.append(outputs.grad.clone())
    passes.backward()
    whole = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad(set_to_none=True)
    (outputs,) = passes.forward()
    reader.finish(outputs, trie).sum().backward()
    send, failed = torch.autograd.backward, []

    def backward(*arguments):
        if not failed:
            failed.append(True)
            raise torch.OutOfMemoryError("no memory")
        return send(*arguments)

    monkeypatch.setattr(torch.autograd, "backward", backward)
    passes.backward()
    assert passes.portion.rows == 2
    for parameter, wanted in zip(model.parameters(), whole, strict=True):
        assert torch.allclose(parameter.grad, wanted, atol=1e-4, rtol=1e-3)


# CUDA graphs, without a GPU: what is done with what torch gives back


def captured(tokenizer, monkeypatch, graphed) -> Passes:
    """Passes on the CPU that take themselves to be on a GPU while they capture."""
    reader = PolicyReader(build("smoke", len(tokenizer), 64, seed=0))
    passes = Passes(reader, [reader], [catalogue(tokenizer, 0).trie()], "graph")
    for name, stand_in in {
        "make_graphed_callables": graphed, "current_stream": lambda device: None, "set_stream": lambda stream: None,
        "synchronize": lambda device: None,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, stand_in)
    monkeypatch.setattr(passes, "device", torch.device("cuda"))
    passes.capture()
    return passes


def test_a_graph_that_agrees_is_used_and_left_where_memory_runs_out(tokenizer, monkeypatch):
    calls = []

    def graphed(module, inputs):
        def replay(*own):
            calls.append(len(own))
            return module(*own)

        return replay

    passes = captured(tokenizer, monkeypatch, graphed)
    assert calls == [4]  # compared once with the module itself
    passes.forward()
    assert calls == [4, 4]
    passes.portion.rows = 2
    passes.forward()
    assert calls == [4, 4]  # a graph is of the whole tree


def refused(module, inputs):
    raise RuntimeError("operation not permitted when stream is capturing\nmore")


@pytest.mark.parametrize(
    ("graphed", "said"),
    [
        (refused, "graph: no CUDA graph (operation not permitted when stream is capturing); going on without"),
        (lambda module, inputs: lambda *own: module(*own) + 1.0, "graph: a CUDA graph is 1 off; going on without"),
        (
            lambda module, inputs: lambda *own: 3.0 * module(*own) - 2.0 * module(*own).detach(),
            "graph: a CUDA graph is 2",
        ),
    ],
)
def test_a_graph_that_fails_or_differs_is_not_used(tokenizer, monkeypatch, capsys, graphed, said):
    passes = captured(tokenizer, monkeypatch, graphed)
    assert passes.call is passes.module
    assert said in capsys.readouterr().err


# Several processes

DIVIDED = """
import torch.distributed as dist
from llm_validation.grid.processes import end
from llm_validation.catalogue.train import train_one, train_sharded
from tests.llm_validation.catalogue import test_stacked_seeds as tasks
dist.init_process_group("gloo")
tokenizer = tasks.train_tokenizer(tasks.STORIES.sample(tasks.generator(0, "documents"), 500), 300)
for make in (tasks.policy_task, tasks.reward_task):
    alone, divided = make(tokenizer, 0), make(tokenizer, 0)
    tasks.assert_same(train_one(alone), train_sharded(divided))
    for mine, theirs in zip(alone.model.parameters(), divided.model.parameters(), strict=True):
        assert (mine - theirs).abs().max() < 1e-3
print("the same on process", dist.get_rank())
end(0)
"""


@pytest.mark.slow
def test_a_model_divided_among_processes_trains_the_same(tmp_path):
    script = tmp_path / "divided.py"
    script.write_text(DIVIDED)
    said = two_processes(str(script), out=tmp_path)
    assert said.count("the same on process") == 2
