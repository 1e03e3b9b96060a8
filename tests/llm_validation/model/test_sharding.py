"""Several processes: they train as one, with the whole model in each or divided among them, and resume in any number.

As `torchrun` starts them: `accelerate launch` without MPI starts one process on a CPU, however many are asked for.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.distributed.fsdp import FSDPModule
from transformers import GPT2Config, GPT2LMHeadModel

from llm_validation.model.model import build
from llm_validation.model.sharding import decoder_layers, full_weights, shard, shards_wanted, unsharded
from llm_validation.pretraining.pretrain import pretrain
from llm_validation.text.language import STORIES
from tests.llm_validation.pretraining.test_pretrain import SHORT
from tests.processes import two_processes

#: Two processes sum float32 numbers in another order than one: after 16 steps weights differ by 4e-7 of their norm.
ROUNDING = 1e-5

#: What two processes do; {config} and {out} are filled in.
SCRIPT = '''
import os, shutil
from pathlib import Path
import torch
from accelerate import PartialState
from llm_validation.pretraining import loop as pretrain_loop, pretrain as pretraining
from llm_validation.pretraining.held_out import token_losses
from llm_validation.text.language import STORIES
from llm_validation.model.model import build
from llm_validation.pretraining.pretrain import Pretraining, TooLittleMemory, pretrain
from llm_validation.grid.processes import end
from llm_validation.model.sharding import full_weights, reshard, shard, unsharded, whole
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor

config, out = Pretraining(**{config!r}), Path({out!r})
calls = []
def counted(root, model):
    calls.append(root)
    shard(root, model)
pretrain_loop.shard = counted

class Stop(Exception):
    """Stands in for a kill."""
def stop(step, loss):
    if step == 10:
        raise Stop

# 1. divided, because the launcher says so, and in one go
os.environ["ACCELERATE_USE_FSDP"] = "true"
pretrain(config, STORIES, out / "sharded", progress=False)
del os.environ["ACCELERATE_USE_FSDP"]
assert len(calls) == 1
state = PartialState()
assert state.num_processes == 2

# 2. divided, killed, and resumed; the same checkpoint for others
try:
    pretrain(config, STORIES, out / "killed", shard=True, progress=False, on_step=stop)
except Stop:
    pass
state.wait_for_everyone()
if state.is_main_process:
    for name in ("alone", "unlike"):
        shutil.copytree(out / "killed.checkpoint", out / (name + ".checkpoint"))
state.wait_for_everyone()
pretrain(config, STORIES, out / "killed", shard=True, progress=False)
assert len(calls) == 3

# 3. the whole model in each process: from the start, and from a checkpoint of a sharded run
pretrain(config, STORIES, out / "parallel", progress=False)
pretrain(config, STORIES, out / "unlike", progress=False)
assert len(calls) == 3

# 4. a module that holds the model and more; a vocabulary that two does not divide
class WithHead(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.model = build("smoke", 301, 32, 0)
        self.gain = torch.nn.Parameter(torch.ones(3))
    def forward(self, ids):
        return token_losses(self.model, ids).mean() * self.gain.sum()

ids = torch.arange(64).reshape(4, 16)
plain, divided = WithHead(), WithHead()
shard(divided, divided.model)
assert isinstance(divided, FSDPModule) and not isinstance(plain, FSDPModule)
for module, rows in ((plain, ids), (divided, ids[state.process_index :: 2])):
    optimiser = torch.optim.AdamW(module.parameters(), lr=1e-2)
    for _ in range(3):
        optimiser.zero_grad()
        module(rows).backward()
        norm = whole(torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0))
        optimiser.step()
    if module is plain:
        wanted = norm
torch.testing.assert_close(norm, wanted, rtol=1e-4, atol=0.0)
with torch.no_grad():
    torch.testing.assert_close(divided(ids), plain(ids), rtol=1e-4, atol=0.0)
parts = lambda: set(map(type, divided.parameters()))
assert parts() == set((DTensor, torch.nn.Parameter)), "gathered as the forward pass left it"
reshard(divided)
assert parts() == set((DTensor,))
weights, copy = full_weights(divided), unsharded(divided.model)
assert (copy is None) == (not state.is_main_process) == (not weights)
if state.is_main_process:
    assert weights.keys() == dict(plain.named_parameters()).keys()
    for name, value in plain.named_parameters():
        torch.testing.assert_close(weights[name], value.detach(), rtol=1e-3, atol=1e-4)
    for name, value in copy.named_parameters():
        assert type(copy) is type(plain.model) and torch.equal(value, weights["model." + name])
state.wait_for_everyone()

# 5. where memory runs out, every process ends with the same error
def small(*arguments):
    model = build(*arguments)
    def full(**options):
        raise torch.OutOfMemoryError("too much")
    model.forward = full
    return model
pretraining.build = small
for divide in (False, True):
    try:
        pretrain(config, STORIES, out / "small", shard=divide, progress=False)
    except TooLittleMemory as error:
        assert "step 0: 2 rows per process do not fit" in str(error), error
    else:
        raise AssertionError("it fits")
end(0)
'''


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def record(folder: Path):
    return json.loads((folder / "pretraining.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """A folder with the run of one process, `one`, and those of two."""
    out = tmp_path_factory.mktemp("runs")
    script = out / "two.py"
    script.write_text(SCRIPT.format(config=dataclasses.asdict(SHORT), out=str(out)))
    two_processes(str(script), out=out)
    pretrain(SHORT, STORIES, out / "one", progress=False)
    pretrain(SHORT, STORIES, out / "alone", progress=False)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("name", ["parallel", "sharded", "killed", "alone", "unlike"])
def test_two_processes_train_as_one(runs, name):
    """Data parallel; sharded; sharded, killed and resumed by two, by one, and by two that each hold the whole model."""
    one, other = weights(runs / "one"), weights(runs / name)
    assert one.keys() == other.keys()
    for key, value in one.items():
        assert torch.linalg.norm(other[key] - value) < ROUNDING * torch.linalg.norm(value), key
    np.testing.assert_allclose(record(runs / name)["losses"], record(runs / "one")["losses"], rtol=ROUNDING)
    np.testing.assert_allclose(record(runs / name)["points"], record(runs / "one")["points"], rtol=ROUNDING)
    assert (runs / name / "config.json").read_text(encoding="utf-8") == (runs / "one" / "config.json").read_text(
        encoding="utf-8"
    )
    assert (runs / name / "samples.txt").read_text(encoding="utf-8") == (runs / "one" / "samples.txt").read_text(
        encoding="utf-8"
    )


@pytest.mark.slow
def test_a_sharded_run_that_was_killed_goes_on_to_the_same_bits(runs):
    whole, killed = weights(runs / "sharded"), weights(runs / "killed")
    assert all(torch.equal(value, killed[key]) for key, value in whole.items())
    assert record(runs / "killed")["losses"] == record(runs / "sharded")["losses"]
    assert record(runs / "killed")["points"] == record(runs / "sharded")["points"]
    assert not list(runs.glob("*.checkpoint"))


# --- one process --------------------------------------------------------------------------------------------------


def test_one_process_cannot_shard(tmp_path):
    with pytest.raises(ValueError, match="sharding needs several processes, and there is one"):
        pretrain(SHORT, STORIES, tmp_path / "model", shard=True, progress=False)
    model = build("smoke", 300, 32, 0)
    with pytest.raises(ValueError, match="LlamaForCausalLM is not part of the Linear"):
        shard(nn.Linear(2, 2), model)


def test_the_launcher_may_ask_for_it(monkeypatch):
    assert (shards_wanted(False), shards_wanted(True)) == (False, True)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert shards_wanted(False)
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "false")
    assert not shards_wanted(False)
    monkeypatch.setenv("FSDP_OFFLOAD_PARAMS", "true")
    with pytest.raises(ValueError, match="FSDP_OFFLOAD_PARAMS=true: training is data parallel or sharded"):
        shards_wanted(True)


def test_decoder_layers_of_any_causal_language_model():
    """Llama keeps them in model.layers, GPT-2 in transformer.h."""
    model = build("smoke", 300, 32, 0)
    assert decoder_layers(model) is model.model.layers
    other = GPT2LMHeadModel(GPT2Config(vocab_size=300, n_positions=16, n_embd=8, n_layer=3, n_head=2))
    assert decoder_layers(other) is other.transformer.h
    other.config.n_layer = 5
    with pytest.raises(ValueError, match="GPT2LMHeadModel has no list of its 5 layers"):
        decoder_layers(other)


def test_a_model_that_is_not_divided_is_whole():
    model = build("smoke", 300, 32, 0)
    assert not any(isinstance(part, FSDPModule) for part in model.modules())
    assert full_weights(model).keys() == dict(model.named_parameters()).keys(), "tied weights come once"
    copy = unsharded(model)
    assert copy is not model
    assert copy.lm_head.weight is copy.model.embed_tokens.weight
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in copy.state_dict().items())
