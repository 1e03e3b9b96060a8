"""Pretraining: it learns, it resumes to the same bits, it stops at the first number that is none, it can be shared."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from llm_validation.corpus import encode, train_tokenizer
from llm_validation.held_out import block_loss, excess_nats, story_losses
from llm_validation.language import END, STORIES, Language, Transition
from llm_validation.model import build
from llm_validation.pretrain import PRESETS, Pretraining, _prepare, pretrain
from llm_validation.pretrain_config import batch_at
from llm_validation.train import TrainingDiverged
from simulate.montecarlo import generator

ROOT = Path(__file__).resolve().parent.parent
#: A second of work, with a checkpoint half-way that is not at the end.
SHORT = Pretraining(
    "smoke", context=32, batch=4, steps=16, stories=200, held_out=20, rate=1e-2, warmup=4, checkpoint_every=6
)


class Stop(Exception):
    """Stands in for a kill."""


def weights(pretrained) -> dict[str, torch.Tensor]:
    return dict(pretrained.model.named_parameters())


def stop_at(step: int):
    def on_step(now: int, loss: float) -> None:
        if now == step:
            raise Stop

    return on_step


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "model"
    return folder, pretrain(SHORT, STORIES, folder, progress=False)


# --- the configuration ------------------------------------------------------------------------------------------------


def test_the_schedule():
    config = dataclasses.replace(SHORT, rate=1.0, warmup=4, steps=104)
    rates = [config.rate_at(step) for step in range(104)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert math.isclose(rates[53], 0.505, rel_tol=1e-12)  # half of the cosine: the mean of 1 and a hundredth
    assert math.isclose(rates[-1], 0.01, rel_tol=1e-12)
    assert config.tokens == 104 * 4 * 32


@pytest.mark.parametrize("change", [{"context": 1}, {"batch": 0}, {"steps": 0}, {"held_out": 1}, {"rate": 0.0}])
def test_a_field_out_of_range_is_named(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        dataclasses.replace(SHORT, **change)


def test_every_size_has_a_preset():
    assert all(config.size == name for name, config in PRESETS.items())


def test_batches_go_through_all_blocks_in_every_epoch():
    """Three epochs of 10 blocks in batches of 4, which do not divide 10; a batch depends on (seed, step) alone."""
    seen = np.concatenate([batch_at(5, step, 4, 10) for step in range(8)])
    orders = [seen[:10], seen[10:20], seen[20:30]]
    assert all(sorted(order) == list(range(10)) for order in orders)
    assert not np.array_equal(orders[0], orders[1])
    assert np.array_equal(batch_at(5, 6, 4, 10), seen[24:28])
    assert not np.array_equal(batch_at(6, 6, 4, 10), seen[24:28])


# --- held-out loss ----------------------------------------------------------------------------------------------------


def test_story_losses_do_not_depend_on_their_neighbours():
    """In batches of different lengths as alone, token by token."""
    stories = STORIES.sample(generator(0, "losses"), 7)
    tokenizer = train_tokenizer(stories, 300)
    model = build("smoke", len(tokenizer), 64, 0).eval()
    end = tokenizer.eos_token_id
    alone = []
    for ids in encode(stories, tokenizer):
        row = torch.tensor([[end, *ids, end]])
        with torch.no_grad():
            logs = model(input_ids=row).logits[0].log_softmax(-1)
        alone.append(-sum(float(logs[i, row[0, i + 1]]) for i in range(len(ids) + 1)))
    # float32 sums of about 60 terms near 6
    np.testing.assert_allclose(story_losses(model, tokenizer, stories, batch=3), alone, rtol=1e-5)


def test_the_excess_of_a_uniform_model_is_known():
    """Fair coins against a model with zero logits: (tokens + end)·log(vocabulary) − log 2 nats too many."""
    coin = Language({"s": (Transition(0.5, "h", END), Transition(0.5, "t", END))}, "s")
    tokenizer = train_tokenizer(["h", "t"], 258)
    model = build("smoke", 258, 8, 0)
    torch.nn.init.zeros_(model.model.embed_tokens.weight)
    measured = excess_nats(model, tokenizer, coin, ["h", "t", "h"])
    assert math.isclose(measured.value, 2 * math.log(258) - math.log(2), rel_tol=1e-6)
    assert measured.stderr < 1e-6
    assert math.isclose(block_loss(model, np.zeros((3, 4), dtype=np.int64), 2).value, math.log(258), rel_tol=1e-6)


# --- runs -------------------------------------------------------------------------------------------------------------


def test_it_learns_towards_the_entropy_and_not_below(tmp_path):
    """A language of four stories, which even the smallest model can learn: within 3 % of its entropy in 150 steps."""
    states = {
        "start": (Transition(0.7, "Mia", "Mia"), Transition(0.3, "Tom", "Tom")),
        "Mia": (Transition(0.9, " sang.", END), Transition(0.1, " slept well.", END)),
        "Tom": (Transition(0.2, " sang.", END), Transition(0.8, " slept well.", END)),
    }
    config = dataclasses.replace(SHORT, batch=16, steps=150, stories=4_000, held_out=500, checkpoint_every=0)
    run = pretrain(config, Language(states, "start"), tmp_path / "model", progress=False)
    assert run.entropy == Language(states, "start").entropy
    assert run.excess < 0.03
    assert run.held_out > run.entropy - 4 * run.stderr, "below the floor"
    assert run.losses[0] == pytest.approx(math.log(len(run.tokenizer)), abs=0.1), "at first it knows nothing"
    assert run.tokens_per_second == pytest.approx(config.tokens / run.seconds)


def test_a_finished_run_is_loaded_and_not_repeated(finished):
    folder, run = finished
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = pretrain(dataclasses.replace(SHORT, checkpoint_every=3), STORIES, folder, on_step=stop_at(0))
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert again.losses == run.losses
    assert (again.held_out, again.entropy, again.seconds) == (run.held_out, run.entropy, run.seconds)
    assert [path.name for path in folder.parent.iterdir()] == ["model"], "the checkpoint is gone"


def test_a_folder_of_another_run_is_refused_by_field(finished, tmp_path):
    folder, _ = finished
    with pytest.raises(ValueError, match=r"trained with rate = 0\.01, not 0\.02"):
        pretrain(dataclasses.replace(SHORT, rate=0.02), STORIES, folder, progress=False)
    with pytest.raises(ValueError, match=r"trained on other text: language \w+, not 2 documents"):
        pretrain(SHORT, ["One.", "Two."], folder, progress=False)
    with pytest.raises(ValueError, match=r"is not a finished pretraining: it has no pretraining\.json"):
        pretrain(SHORT, STORIES, tmp_path, progress=False)


@pytest.mark.parametrize("step", [3, 5, 10])
def test_a_killed_run_goes_on_to_the_same_bits(finished, tmp_path, step):
    """Killed before the first checkpoint, right after it, and between it and the second one."""
    _, run = finished
    folder = tmp_path / "model"
    with pytest.raises(Stop):
        pretrain(SHORT, STORIES, folder, progress=False, on_step=stop_at(step))
    assert not folder.exists()
    steps: list[int] = []
    resumed = pretrain(SHORT, STORIES, folder, progress=False, on_step=lambda now, loss: steps.append(now))
    assert steps == list(range(0 if step == 3 else 6, 16))
    assert resumed.losses == run.losses
    assert weights(resumed).keys() == weights(run).keys()
    assert all(torch.equal(value, weights(resumed)[name]) for name, value in weights(run).items())
    assert resumed.held_out == run.held_out


def test_a_checkpoint_of_another_run_is_refused_by_field(tmp_path):
    with pytest.raises(Stop):
        pretrain(SHORT, STORIES, tmp_path / "model", progress=False, on_step=stop_at(6))
    with pytest.raises(ValueError, match=r"model\.checkpoint was trained with seed = 0, not 1"):
        pretrain(dataclasses.replace(SHORT, seed=1), STORIES, tmp_path / "model", progress=False)


def test_a_number_that_is_none_stops_the_run(tmp_path):
    """A learning rate that throws the weights out of float32: the last good checkpoint is that of step 2."""
    config = dataclasses.replace(SHORT, rate=1e-2, checkpoint_every=2, clip=1e30, weight_decay=0.0)
    folder = tmp_path / "model"
    with pytest.raises(Stop):
        pretrain(config, STORIES, folder, progress=False, on_step=stop_at(1))
    ruined = tmp_path / "model.checkpoint" / "weights.safetensors"
    tensors = load_file(ruined)
    tensors["model.norm.weight"][0] = math.inf
    save_file(tensors, ruined)
    with pytest.raises(TrainingDiverged, match=r"step 2: loss nan .*blocks \[.*checkpoint, after 2 steps"):
        pretrain(config, STORIES, folder, progress=False)
    assert not folder.exists()


def test_without_checkpoint_the_message_says_so(tmp_path):
    config = dataclasses.replace(SHORT, rate=1e38, warmup=0, checkpoint_every=0)
    with pytest.raises(TrainingDiverged, match=r"step 1: .*last good checkpoint: none was written"):
        pretrain(config, STORIES, tmp_path / "model", progress=False)


def test_documents(tmp_path):
    documents = STORIES.sample(generator(3, "documents"), 150)
    run = pretrain(dataclasses.replace(SHORT, held_out=10), documents, tmp_path / "model", progress=False)
    assert run.entropy is None
    assert run.held_out < run.losses[0]
    # the same loss per byte: stories have about 3.5 bytes per token
    assert run.bits_per_byte == pytest.approx(run.held_out / math.log(2) / 3.5, rel=0.1)
    with pytest.raises(ValueError, match="entropy of documents is unknown"):
        _ = run.excess
    with pytest.raises(ValueError, match="held_out asks for 500"):
        pretrain(dataclasses.replace(SHORT, held_out=500), documents, tmp_path / "other", progress=False)


def test_held_out_blocks_are_not_trained_on():
    documents = STORIES.sample(generator(3, "documents"), 150)
    data = _prepare(dataclasses.replace(SHORT, held_out=10), documents)
    assert data.held_out.shape == (10, 32)
    together = np.concatenate([data.blocks, data.held_out]).ravel()
    pieces = data.tokenizer.decode(together).split("<|endoftext|>")
    assert pieces != documents[: len(pieces)], "documents are shuffled, so that the last ones are like the others"
    assert len(set(pieces[:-1]) - set(documents)) == 0
    assert sum(map(len, pieces)) > 0.98 * sum(map(len, documents)), "all blocks are here once"
    assert sum(map(len, pieces)) <= sum(map(len, documents))


def test_the_bar_shows_speed_loss_and_time_left(tmp_path, capsys):
    pretrain(dataclasses.replace(SHORT, steps=2), STORIES, tmp_path / "model")
    shown = capsys.readouterr().err
    assert "tok/s" in shown
    assert "loss=" in shown
    assert "256/256" in shown


@pytest.mark.slow
def test_two_processes_train_as_one(finished, tmp_path):
    """Two gloo processes share every batch: the same losses up to the order of float32 sums, 1e-4 after 16 steps.

    `torchrun` and not `accelerate launch`, which without MPI starts one process on a CPU, however many are asked for.
    """
    _, run = finished
    script = tmp_path / "two.py"
    script.write_text(
        "from accelerate import PartialState\n"
        "from llm_validation.language import STORIES\nfrom llm_validation.pretrain import Pretraining, pretrain\n"
        f"config = Pretraining(**{dataclasses.asdict(SHORT)!r})\n"
        f"pretrain(config, STORIES, {str(tmp_path / 'model')!r}, progress=False)\n"
        "assert PartialState().num_processes == 2\nPartialState().destroy_process_group()\n"
    )
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", str(script)]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(launch, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    losses = json.loads((tmp_path / "model" / "pretraining.json").read_text())["losses"]
    assert len(losses) == 16
    np.testing.assert_allclose(losses, run.losses, rtol=1e-4)
