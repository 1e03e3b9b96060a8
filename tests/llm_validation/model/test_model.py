"""Models built, saved and loaded: deterministic, independent of global state, never pickled, never half written."""

from __future__ import annotations

import contextlib
import math

import pytest
import torch
from safetensors import SafetensorError

from llm_validation.model.folders import replacing
from llm_validation.model.model import SIZES, autocast, build, device, load, parameter_count, save
from llm_validation.text.corpus import train_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["the cat sat on the mat"] * 3, 300)


def same(a, b) -> bool:
    mine, other = dict(a.named_parameters()), dict(b.named_parameters())
    return mine.keys() == other.keys() and all(torch.equal(mine[name], other[name]) for name in mine)


def test_sizes_are_what_they_are_called():
    with torch.device("meta"):  # shapes alone
        count = {name: parameter_count(build(name, 8192, 64, 0)) for name in ("small", "base")}
    assert 25e6 < count["small"] < 30e6
    assert 85e6 < count["base"] < 115e6
    assert 0.3e6 < parameter_count(build("tiny", 420, 64, 0)) < 0.5e6
    assert set(SIZES) == {"smoke", "micro", "tiny", "mini", "small", "base"}


def test_parameters_by_hand():
    """smoke: embedding 50·32, two layers of 4·32² + 3·32·96 weights and 2·32 gains, one last gain."""
    model = build("smoke", 50, 64, 0)
    assert parameter_count(model) == 50 * 32 + 2 * (4 * 32**2 + 3 * 32 * 96 + 2 * 32) + 32
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert model.config._attn_implementation == "sdpa"


def test_the_seed_decides_the_weights_and_nothing_else_does():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = build("smoke", 50, 64, seed=7)
    assert torch.equal(torch.get_rng_state(), before), "the global state was changed"
    torch.manual_seed(2)
    assert same(first, build("smoke", 50, 64, seed=7)), "the global state was read"
    assert not same(first, build("smoke", 50, 64, seed=8))


def test_a_fresh_model_knows_nothing():
    model = build("tiny", 400, 64, 0)
    ids = torch.arange(64)[None]
    loss = float(model(input_ids=ids, labels=ids).loss.detach())
    assert abs(loss - math.log(400)) < 0.1  # logits have standard deviation .02·√96 ≈ .2: half its square is .02


def test_the_scale_of_fresh_weights():
    """Standard deviations as documented; 3 % is four standard errors for the smallest matrix, of 96² entries."""
    layer = build("tiny", 400, 64, 0).model.layers[1]
    residual = (2 * 3) ** -0.5
    for weight, std in [
        (layer.self_attn.q_proj.weight, 96**-0.5),
        (layer.mlp.up_proj.weight, 96**-0.5),
        (layer.self_attn.o_proj.weight, residual * 96**-0.5),
        (layer.mlp.down_proj.weight, residual * 256**-0.5),
    ]:
        assert float(weight.detach().std()) == pytest.approx(std, rel=0.03)
    assert bool((layer.input_layernorm.weight == 1).all())


def test_unknown_size():
    with pytest.raises(ValueError, match="no model size 'huge'; there are smoke, micro, tiny, mini, small, base"):
        build("huge", 400, 64, 0)


def test_save_and_load(tmp_path, tokenizer, capsys):
    model = build("smoke", len(tokenizer), 64, 3)
    save(model, tokenizer, tmp_path / "new" / "model")
    loaded = load(tmp_path / "new" / "model")
    assert same(model, loaded.model)
    assert not loaded.model.training
    assert loaded.tokenizer("the cat")["input_ids"] == tokenizer("the cat")["input_ids"]
    assert loaded.tokenizer.eos_token_id == tokenizer.eos_token_id
    files = {path.name for path in (tmp_path / "new" / "model").iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= files
    assert not [name for name in files if name.endswith((".bin", ".pt", ".pkl"))]
    assert capsys.readouterr().err == "", "no progress bars for a local folder"


def test_saving_replaces_and_leaves_nothing_beside(tmp_path, tokenizer):
    for seed in (1, 2):
        save(build("smoke", len(tokenizer), 64, seed), tokenizer, tmp_path / "model")
    assert same(load(tmp_path / "model").model, build("smoke", len(tokenizer), 64, 2))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def interrupted_write(folder, error=KeyboardInterrupt):
    with replacing(folder) as partial:
        (partial / "file").write_text("half")
        raise error


def test_a_write_that_fails_leaves_the_old_folder(tmp_path):
    with replacing(tmp_path / "out") as partial:
        (partial / "file").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        interrupted_write(tmp_path / "out")
    assert (tmp_path / "out" / "file").read_text(encoding="utf-8") == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_full_disk_names_the_folder(tmp_path):
    for full in (SafetensorError("full"), OSError(28, "full"), OSError("8 requested and 0 written")):
        with pytest.raises(OSError, match=rf"/model cannot be written: .*{full.args[-1]}"):
            interrupted_write(tmp_path / "model", full)
    with pytest.raises(OSError, match=r"^\[Errno 28\] full: 'weights'$"):
        interrupted_write(tmp_path / "model", OSError(28, "full", "weights"))
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_loaded_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"absent.*no such folder, and no model of that name"):
        load("absent")
    with pytest.raises(ValueError, match="the folder holds no model that can be read"):
        load(tmp_path)


def test_padding_and_end_of_text_tokens(tmp_path, tokenizer, capsys):
    model = build("smoke", len(tokenizer), 64, 3)
    bare = train_tokenizer(["the cat sat"], 300)
    bare.pad_token = None
    save(model, bare, tmp_path / "no pad")
    loaded = load(tmp_path / "no pad")
    assert loaded.tokenizer.pad_token_id == loaded.tokenizer.eos_token_id
    assert "no padding token, so '<|endoftext|>' is used" in capsys.readouterr().err
    bare.eos_token = None
    save(model, bare, tmp_path / "no end")
    with pytest.raises(ValueError, match="has no end-of-text token"):
        load(tmp_path / "no end")


def test_device_and_precision():
    where = device()
    assert where.type == ("cuda" if torch.cuda.is_available() else "cpu")
    with autocast(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    assert isinstance(autocast(torch.device("cpu")), contextlib.nullcontext)
