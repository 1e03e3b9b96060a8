"""Pretraining: it learns, it resumes to the same bits, it stops at the first number that is none, it shows itself."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import re

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from llm_validation.model.model import SIZES, build
from llm_validation.pretraining.config import PRESETS, Pretraining, batch_at
from llm_validation.pretraining.held_out import block_loss, excess_nats, story_losses, token_losses
from llm_validation.pretraining.loop import WITHOUT_MASK
from llm_validation.pretraining.pretrain import _prepare, pretrain
from llm_validation.pretraining.report import write_report, write_texts
from llm_validation.text.corpus import encode, train_tokenizer
from llm_validation.text.language import END, STORIES, Language, Transition
from llm_validation.training.loop import TrainingDiverged
from simulate.montecarlo import generator

#: A second of work, with a checkpoint half-way that is not at the end.
SHORT = Pretraining(
    "smoke",
    context=32,
    batch=4,
    steps=16,
    stories=200,
    held_out=20,
    rate=1e-2,
    warmup=4,
    checkpoint_every=6,
    evaluations=3,
)


FOUR_STORIES = Language(
    {
        "start": (Transition(0.7, "Mia", "Mia"), Transition(0.3, "Tom", "Tom")),
        "Mia": (Transition(0.9, " sang.", END), Transition(0.1, " slept well.", END)),
        "Tom": (Transition(0.2, " sang.", END), Transition(0.8, " slept well.", END)),
    },
    "start",
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


@pytest.fixture(scope="module")
def four_stories(tmp_path_factory):
    folder = tmp_path_factory.mktemp("four") / "model"
    config = dataclasses.replace(SHORT, batch=16, steps=150, stories=4_000, held_out=500, checkpoint_every=0)
    return folder, pretrain(config, FOUR_STORIES, folder, progress=False)


# --- the configuration ------------------------------------------------------------------------------------------------


def test_the_schedule():
    config = dataclasses.replace(SHORT, rate=1.0, warmup=4, steps=104)
    rates = [config.schedule.rate_at(step) for step in range(104)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert math.isclose(rates[53], 0.505, rel_tol=1e-12)  # half of the cosine: the mean of 1 and a hundredth
    assert math.isclose(rates[-1], 0.01, rel_tol=1e-12)
    assert config.tokens == 104 * 4 * 32


@pytest.mark.parametrize(
    "change", [{"context": 1}, {"batch": 0}, {"steps": 0}, {"held_out": 1}, {"rate": 0.0}, {"evaluations": -1}]
)
def test_a_field_out_of_range_is_named(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        dataclasses.replace(SHORT, **change)


def test_points_of_the_curve_are_evenly_spaced_and_end_at_the_end():
    after = {n: sorted(dataclasses.replace(SHORT, evaluations=n).evaluated_after) for n in (0, 3, 4, 16, 50)}
    assert after == {0: [], 3: [6, 11, 16], 4: [4, 8, 12, 16], 16: list(range(1, 17)), 50: list(range(1, 17))}


def test_every_size_has_a_preset():
    assert PRESETS.keys() == SIZES.keys()
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


def test_it_learns_towards_the_entropy_and_not_below(four_stories):
    """A language of four stories, which even the smallest model can learn: within 3 % of its entropy in 150 steps."""
    language, run = FOUR_STORIES, four_stories[1]
    assert run.entropy == language.entropy
    assert run.excess < 0.03
    assert run.held_out > run.entropy - 4 * run.stderr, "below the floor"
    assert run.losses[0] == pytest.approx(math.log(len(run.tokenizer)), abs=0.1), "at first it knows nothing"
    assert run.tokens_per_second == pytest.approx(150 * 16 * 32 / run.seconds)


def test_a_finished_run_is_loaded_and_not_repeated(finished):
    folder, run = finished
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = pretrain(dataclasses.replace(SHORT, checkpoint_every=3, evaluations=5), STORIES, folder, on_step=stop_at(0))
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
    original, run = finished
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
    for name in ("learning_curve.csv", "samples.txt"):
        assert (folder / name).read_bytes() == (original / name).read_bytes()


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
    with pytest.raises(TrainingDiverged, match=r"step 2 of 16 has loss nan; blocks \[.*checkpoint, after 2 steps"):
        pretrain(config, STORIES, folder, progress=False)
    assert not folder.exists()


def test_without_checkpoint_the_message_says_so(tmp_path):
    config = dataclasses.replace(SHORT, rate=1e38, warmup=0, checkpoint_every=0)
    with pytest.raises(TrainingDiverged, match=r"step 1 of 16 .*last good checkpoint: none was written"):
        pretrain(config, STORIES, tmp_path / "model", progress=False)


def test_documents(tmp_path):
    documents = STORIES.sample(generator(3, "documents"), 150)
    run = pretrain(dataclasses.replace(SHORT, held_out=10), documents, tmp_path / "model", progress=False)
    assert run.entropy is None
    assert run.held_out < run.losses[0]
    # the same loss per byte: stories have about 3.5 bytes per token
    assert run.bits_per_byte == pytest.approx(run.held_out / math.log(2) / 3.5, rel=0.1)
    assert [point.step for point in run.points] == [6, 11, 16]
    last = (tmp_path / "model" / "learning_curve.csv").read_text(encoding="utf-8").splitlines()[-1].split(",")
    assert (last[3], last[4]) == (repr(run.held_out), "")
    assert float(last[5]) == pytest.approx(run.bits_per_byte, rel=1e-12)
    assert "language" not in (tmp_path / "model" / "samples.txt").read_text(encoding="utf-8").splitlines()[0]
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
    # the last one may be cut off
    assert pieces[:-1] != documents[: len(pieces) - 1], "documents are shuffled: the last ones are like the others"
    assert len(set(pieces[:-1]) - set(documents)) == 0
    assert sum(map(len, pieces)) > 0.98 * sum(map(len, documents)), "all blocks are here once"
    assert sum(map(len, pieces)) <= sum(map(len, documents))


def test_the_bar_shows_speed_loss_and_time_left(tmp_path, capsys):
    pretrain(dataclasses.replace(SHORT, steps=2), STORIES, tmp_path / "model")
    shown = capsys.readouterr().err
    assert "tok/s" in shown
    assert "loss=" in shown
    assert "256/256" in shown


# --- what a run shows of itself -----------------------------------------------------------------------------------


def test_the_learning_curve(finished):
    """Three points; the last one is the held-out loss, because all 20 held-out stories are within its 256."""
    folder, run = finished
    with (folder / "learning_curve.csv").open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [(int(line["step"]), int(line["tokens"])) for line in lines] == [(6, 768), (11, 1408), (16, 2048)]
    between = [np.mean(run.losses[:6]), np.mean(run.losses[6:11]), np.mean(run.losses[11:])]
    np.testing.assert_allclose([float(line["train_loss"]) for line in lines], between, rtol=1e-12)
    assert [float(line["held_out"]) for line in lines] == [point.held_out for point in run.points]
    assert float(lines[-1]["held_out"]) == run.held_out
    assert run.points[0].held_out > run.points[2].held_out, "it learns"
    assert {(float(line["entropy"]), line["bits_per_byte"]) for line in lines} == {(run.entropy, "")}


def test_measuring_along_the_way_changes_nothing(finished, tmp_path):
    _, run = finished
    blind = pretrain(dataclasses.replace(SHORT, evaluations=0), STORIES, tmp_path / "model", progress=False)
    assert blind.points == ()
    assert (blind.losses, blind.held_out) == (run.losses, run.held_out)
    assert all(torch.equal(value, weights(blind)[name]) for name, value in weights(run).items())


def test_a_point_is_measured_on_256_stories_at_most(tmp_path):
    config = dataclasses.replace(SHORT, steps=2, held_out=300, evaluations=1)
    run = pretrain(config, STORIES, tmp_path / "model", progress=False)
    data = _prepare(config, STORIES)
    assert len(data.stories) == 300
    for value, stories in ((run.held_out, data.stories), (run.points[0].held_out, data.stories[:256])):
        excess = excess_nats(run.model, run.tokenizer, STORIES, stories)
        assert value == pytest.approx(STORIES.entropy + excess.value, rel=1e-9)


def test_numbers_of_the_model_and_its_tokenizer(finished):
    _, run = finished
    assert run.parameters == sum(value.numel() for value in weights(run).values())
    stories = STORIES.sample(generator(SHORT.seed, "stories"), SHORT.stories)
    # what does not fill the last block is counted in the bytes, not in the tokens: up to 32 tokens of some 5000
    tokens = sum(len(ids) + 1 for ids in encode(stories, run.tokenizer))
    assert run.bytes_per_token == pytest.approx(sum(map(len, stories)) / tokens, rel=32 / 5000)


def test_samples_say_whether_the_language_has_them(four_stories, finished):
    """A model that has learnt its language writes it; one that has not is told where it leaves the language."""
    page = (four_stories[0] / "samples.txt").read_text(encoding="utf-8")
    assert page.startswith("8 texts at temperature 1, seed 0, at most 32 tokens each; 8 of 8 are of the language\n")
    assert len(re.findall(r"--- \d, of the language\n(Mia|Tom) (sang|slept well)\.\n", page)) == 8
    page = (finished[0] / "samples.txt").read_text(encoding="utf-8")
    assert "; 0 of 8 are of the language\n" in page
    told = re.findall(r"--- \d, (not a story of this language: at character \d+, in state '.*|cut off)\n", page)
    assert len(told) == 8


def test_texts_follow_the_law_of_the_model(four_stories):
    """3000 texts of a model that knows four stories: each is as frequent as the model's probability says."""
    _, run = four_stories
    stories = ["Mia sang.", "Mia slept well.", "Tom sang.", "Tom slept well."]
    known = np.exp(-story_losses(run.model, run.tokenizer, stories))
    texts = write_texts(run.model, run.tokenizer, 3000, 16, seed=3)
    shares = np.array([sum(text == (story, True) for text in texts) for story in stories]) / 3000
    assert np.all(np.abs(shares - known) < 4 * np.sqrt(known * (1 - known) / 3000))
    assert known.min() > 0.02
    assert write_texts(run.model, run.tokenizer, 9, 16, seed=3) == write_texts(run.model, run.tokenizer, 9, 16, seed=3)
    assert write_texts(run.model, run.tokenizer, 9, 16, seed=3) != write_texts(run.model, run.tokenizer, 9, 16, seed=4)
    assert {text.ended for text in write_texts(run.model, run.tokenizer, 9, 2, seed=3)} == {False}, "too few tokens"


def test_the_report_of_a_run_is_small(finished, tmp_path):
    folder, run = finished
    write_report(folder, tmp_path / "report")
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "learning_curve.csv", "samples.txt", "pretraining.json",
    }  # fmt: skip
    record = json.loads((tmp_path / "report" / "pretraining.json").read_text(encoding="utf-8"))
    assert "losses" not in record  # one number per step
    assert (record["held_out"], record["parameters"]) == (run.held_out, run.parameters)


@pytest.mark.filterwarnings("ignore:Guards may run slower:RuntimeWarning")  # torch, of Python 3.13.0 alone
def test_compiled_attention_is_causal_without_a_mask():
    """What keeps flash attention away on a GPU is a mask; the loss is the same without."""
    seen = []

    def backend(graph, inputs):
        seen.extend(
            (node.args[3:], node.kwargs) for node in graph.graph.nodes if "scaled_dot_product" in str(node.target)
        )
        return graph.forward

    model = build("smoke", 300, 64, 0).train()
    ids = torch.arange(4 * 64).remainder(300).view(4, 64)
    wanted = token_losses(model, ids).mean()
    model.set_attn_implementation(WITHOUT_MASK)
    torch._dynamo.reset()
    loss = token_losses(torch.compile(model, backend=backend), ids).mean()
    assert torch.allclose(loss, wanted, rtol=1e-6)
    assert len(seen) == model.config.num_hidden_layers
    assert all(options["attn_mask"] is None and options["is_causal"] is True for _, options in seen)


def test_the_record_of_another_version_is_refused_by_entry(tmp_path):
    pretrain(dataclasses.replace(SHORT, steps=1), STORIES, tmp_path / "model", progress=False)
    path = tmp_path / "model" / "pretraining.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    del record["parameters"]
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"model has no 'parameters': it was made by another version"):
        pretrain(dataclasses.replace(SHORT, steps=1), STORIES, tmp_path / "model", progress=False)


# --- too little device memory -------------------------------------------------------------------------------------
