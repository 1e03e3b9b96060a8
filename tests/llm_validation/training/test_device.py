"""What a device can do and a model asks for: counted FLOPs against torch's counter, MFU of a loop that really ran."""

from __future__ import annotations

import dataclasses
import json
import time

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from llm_validation.model.model import build
from llm_validation.training.device import (
    DeviceRates,
    decoding_bound,
    matrix_parameters,
    measure_rates,
    mfu,
    training_flops_per_token,
)

CPU = torch.device("cpu")
RATES = DeviceRates("a device", flops=1e12, copy=1e11, dtype="bfloat16", matrix=8192, memory=10**10)


def llama(tied: bool, key_heads: int = 4) -> LlamaForCausalLM:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=96, hidden_size=64, intermediate_size=160, num_hidden_layers=3, num_attention_heads=4,
            num_key_value_heads=key_heads, max_position_embeddings=128, tie_word_embeddings=tied, bos_token_id=None,
            eos_token_id=None, pad_token_id=None, attn_implementation="eager",
        )
    )  # fmt: skip


def counted(model, length: int) -> float:
    """FLOPs per token of one forward and backward pass, as torch counts those of the operations that ran."""
    ids = torch.randint(0, 96, (2, length))
    with FlopCounterMode(display=False) as counter:
        logits = model(input_ids=ids, use_cache=False).logits
        logits.float().logsumexp(-1).sum().backward()
    return counter.get_total_flops() / ids.numel()


# FLOPs


@pytest.mark.parametrize("length", [16, 128])
@pytest.mark.parametrize("tied", [True, False])
def test_flops_are_those_of_the_operations_that_run(tied, length):
    """Up to a few per cent: gradients with respect to the first layer's inputs lead only to a look-up."""
    model = llama(tied)
    assert training_flops_per_token(model, length) == pytest.approx(counted(model, length), rel=0.03)


def test_flops_of_grouped_key_heads_and_of_another_architecture():
    assert training_flops_per_token(llama(True, 2), 64) == pytest.approx(counted(llama(True, 2), 64), rel=0.03)
    config = GPT2Config(
        vocab_size=96, n_embd=64, n_layer=3, n_head=4, n_positions=128, bos_token_id=None, eos_token_id=None,
        attn_implementation="eager",
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    assert training_flops_per_token(model, 64) == pytest.approx(counted(model, 64), rel=0.03)


def test_looked_up_tables_are_left_out_and_the_output_layer_is_not():
    tied, untied = llama(True), llama(False)
    layer = 4 * 64 * 64 + 3 * 64 * 160
    assert matrix_parameters(tied) == matrix_parameters(untied) == 3 * layer + 96 * 64
    assert matrix_parameters(tied.model) == 3 * layer, "a backbone has no output layer"


# rates


def test_a_training_loop_reaches_a_share_of_the_products():
    """A loop of the tiny model, best of a few steps, against products measured on the same cores."""
    rates = measure_rates(CPU, 1.0)
    model, ids = build("mini", 420, 64, seed=0), torch.randint(0, 420, (32, 64))
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        model(input_ids=ids, use_cache=False).logits.float().logsumexp(-1).mean().backward()
        seconds.append(time.perf_counter() - began)
    reached = mfu(ids.numel() / min(seconds), training_flops_per_token(model, 64), rates)
    assert 0.05 < reached <= 1.05


def test_rates_are_measured_in_the_time_given_and_say_what_they_are():
    began = time.perf_counter()
    rates = measure_rates(CPU, 0.6)
    assert time.perf_counter() - began < 2.0
    assert rates.dtype == "float32"
    assert 1e8 < rates.flops < 1e14
    assert 1e8 < rates.copy < 1e13
    assert rates.memory > 10**8
    assert "CPU" in rates.name


def test_shares_and_bounds_are_their_formulas():
    model = llama(True, 2)
    assert mfu(2e5, 1e6, RATES) == pytest.approx(0.2)
    weights, cache = 2 * matrix_parameters(model), 2 * (2 * 3 * 32) * 1000
    assert decoding_bound(model, 8, 1000, RATES) == pytest.approx(8 * 1e11 / (weights + cache))
    many = decoding_bound(model, 8_000_000, 8_000_000 * 10, RATES)
    assert many == pytest.approx(1e11 / (2 * (2 * 3 * 32) * 10), rel=1e-3), "with many rows only their caches are read"


# files


def test_a_file_gives_back_what_was_saved(tmp_path):
    RATES.save(tmp_path / "rates.json")
    assert DeviceRates.load(tmp_path / "rates.json") == RATES
    assert [path.name for path in tmp_path.iterdir()] == ["rates.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expecting property name"),
        ("[1]", "must be a mapping"),
        (json.dumps({**dataclasses.asdict(RATES), "colour": 1}), "unexpected keyword argument 'colour'"),
    ],
)
def test_a_file_of_something_else_is_named(tmp_path, text, message):
    (tmp_path / "rates.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        DeviceRates.load(tmp_path / "rates.json")
