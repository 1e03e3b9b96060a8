"""Architectures of other people: those that no command can use are one sentence, and the others give the plain loop's
numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import transformers

from llm_validation.generation.decode import best_of_n
from llm_validation.generation.engine import Sampling
from llm_validation.generation.scorers import Batch
from llm_validation.model.model import load
from llm_validation.preferences.data import Example, Preferences
from llm_validation.preferences.train import PreferenceTraining, train_on_preferences
from llm_validation.rewards.model import from_language_model, load_reward_model
from llm_validation.rewards.prefix_scorer import PrefixScorer
from llm_validation.rewards.sources import Classifier
from llm_validation.training.parts import choose_part
from tests.oracles.other_models import gpt2_style

ENCODER = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
DECODER = {"d_model": 32, "decoder_layers": 2, "decoder_ffn_dim": 48, "decoder_attention_heads": 4}
HYBRID = {
    **ENCODER, "layer_types": ["mamba", "attention"], "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8,
    "mamba_n_groups": 1, "num_local_experts": 0, "shared_intermediate_size": 48, "num_key_value_heads": 2,
}  # fmt: skip
EXPERTS = {**ENCODER, "num_local_experts": 4, "num_key_value_heads": 2, "max_position_embeddings": 64}
PROJECTED = {**ENCODER, "is_decoder": True, "input_embedding_size": 16, "output_embedding_size": 48}
OPT = {"hidden_size": 32, "ffn_dim": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "word_embed_proj_dim": 16}


def network(config, size=60, **options):
    """A tiny model with sharp weights."""
    own = {"vocab_size": size, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = transformers.AutoModelForCausalLM.from_config(getattr(transformers, config)(**{**options, **own})).eval()
        with torch.no_grad():
            for parameter in made.parameters():
                if parameter.ndim == 2:
                    parameter.normal_(0, 0.25)
    return made


def examples():
    """Pairs of unlike lengths."""
    rng = np.random.default_rng(0)
    sizes = [(3, 4, 7), (12, 9, 2), (20, 5, 80)]
    texts = [[tuple(rng.integers(2, 60, size).tolist()) for size in three] for three in sizes]
    sides = zip(*((Example(x, a, 1), Example(x, b, 1)) for x, a, b in texts), strict=True)
    return Preferences("pairs", *map(tuple, sides), paired=True)


def plain(model, example):
    """log π(completion | prompt), of the text alone."""
    logs = model(input_ids=torch.tensor([example.prompt + example.completion])).logits[0].detach().double()
    first = len(example.prompt) - 1
    targets = torch.tensor(example.completion)
    return float(logs.log_softmax(-1)[first:-1].gather(1, targets[:, None]).sum())


@pytest.mark.parametrize("config", ["BertConfig", "RobertaConfig", "ElectraConfig"])
def test_an_encoder_is_no_causal_model(config, tmp_path):
    tokenizer = gpt2_style()
    network(config, len(tokenizer), **ENCODER).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"a token depends on those after it: it is no causal language model"):
        load(tmp_path)


def test_a_model_that_cannot_read_is_one_sentence(tmp_path):
    """Here its configuration says that inputs are of a language, and not of which."""
    tokenizer = gpt2_style()
    network("XmodConfig", len(tokenizer), **ENCODER, is_decoder=True).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"its XmodForCausalLM cannot read a text: Input language unknown"):
        load(tmp_path)


@pytest.mark.parametrize(("change", "message"), [
    ({"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 32}}, "GPTQ"),  # no package for it here
    ({"num_attention_heads": 5}, "not a multiple"),
])  # fmt: skip
def test_a_configuration_that_cannot_be_had_is_one_sentence(change, message, tmp_path):
    tokenizer = gpt2_style()
    network("LlamaConfig", len(tokenizer), **ENCODER).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | change))
    for read in (load, lambda path: Classifier.load(str(path))):
        with pytest.raises(ValueError, match=f"that can be read: .*{message}") as caught:
            read(tmp_path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pad", [None, 1, -1])
def test_a_classifier_pads_with_what_it_takes_for_padding(pad, tmp_path):
    """Its tokenizer may call another token so, or none: the score of a text does not depend on its batch."""
    tokenizer = gpt2_style()
    if pad == 1:
        tokenizer.pad_token = tokenizer.convert_ids_to_tokens(5)
    own = {"vocab_size": len(tokenizer), "num_labels": 1, "pad_token_id": pad, "bos_token_id": 0, "eos_token_id": 0}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = transformers.LlamaForSequenceClassification(transformers.LlamaConfig(**ENCODER, **own))
    made.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    texts = ["How are you today? I am fine", "How"]
    score = Classifier.load(str(tmp_path))
    alone = [float(score([text], [""])[0]) for text in texts]
    np.testing.assert_allclose(score(texts, ["", ""]), alone, atol=1e-6)


@pytest.mark.parametrize("pad", [None, -1])
def test_a_classifier_without_padding_reads_at_the_end_of_a_text(pad, tmp_path):
    """There may be the end token, which stands in for padding elsewhere."""
    tokenizer = gpt2_style()
    own = {"vocab_size": len(tokenizer), "num_labels": 1, "pad_token_id": None, "bos_token_id": 0, "eos_token_id": 0}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = transformers.LlamaForSequenceClassification(transformers.LlamaConfig(**ENCODER, **own)).eval()
    end = tokenizer.eos_token
    texts = ["How are you today? I am fine" + end, "How" + end + end, "the cat"]
    rows = [torch.tensor([tokenizer(text)["input_ids"]]) for text in texts]
    right = [made(input_ids=row).logits.item() for row in rows]
    made.config.pad_token_id = pad
    made.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    np.testing.assert_allclose(Classifier.load(str(tmp_path))(texts, [""] * 3), right, atol=1e-6)


@pytest.mark.parametrize("config", ["BartConfig", "PegasusConfig"])
def test_a_model_that_counts_padding_as_text_does_not_write(config):
    """The shorter of two prompts would get an answer to a text that begins with padding."""
    model = network(config, **DECODER)
    nothing = lambda batch: np.zeros(len(batch.rows))
    with pytest.raises(ValueError, match=r"ForCausalLM does not read on from a cache as it reads a whole text"):
        best_of_n(model, [(3, 4, 5), (3, 4)], 2, nothing, Sampling(4, ()), seed=0)


def test_what_a_model_says_of_its_cache_is_one_sentence(monkeypatch):
    model = network("OPTConfig", **OPT)
    nothing = lambda batch: np.zeros(len(batch.rows))
    best_of_n(model, [(3, 4)], 2, nothing, Sampling(4, ()), seed=0)

    def fails(*_, **__):
        raise RuntimeError("Sizes of tensors\nmust match")

    monkeypatch.setattr(type(model), "forward", fails)
    with pytest.raises(ValueError, match=r"OPTForCausalLM cannot read on from a cache: Sizes of tensors must match$"):
        best_of_n(model, [(3, 4)], 2, nothing, Sampling(4, ()), seed=0)


@pytest.mark.parametrize(("config", "options", "layout"), [
    ("GraniteMoeHybridConfig", HYBRID, "rows"),  # its state carries one completion into the other, faintly
    ("RemBertConfig", PROJECTED, "all positions"),  # its head reads other states than its backbone's
    ("OPTConfig", OPT, "shared"),
])  # fmt: skip
def test_log_probabilities_are_the_plain_loop_s(config, options, layout):
    model, data = network(config, **options), examples()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "mamba.out_proj" in name:
                parameter.mul_(0.0003)
    gap = np.mean([plain(model, a) - plain(model, b) for a, b in zip(data.chosen, data.rejected, strict=True)])
    how = PreferenceTraining(seed=0, batch=3, rate=1e-9)
    run = train_on_preferences(model, data, lambda a, b, c, d: (a - b).mean(), how)
    assert run.loss[0] == pytest.approx(gap, abs=1e-3)
    assert run.layout == layout


def test_a_reward_is_read_from_states_of_another_width(tmp_path):
    """OPT's projection, and those of OPT-350M."""
    reward = from_language_model(network("OPTConfig", **OPT))
    assert reward.head.weight.shape == (1, 16)
    with torch.no_grad():
        reward.head.weight.copy_(torch.linspace(-1, 1, 16)[None])
    scored = PrefixScorer(reward)(Batch(np.arange(1), ((0, 0),), ((3, 4),), ((5, 6),), False))
    reward.save(tmp_path / "reward")
    np.testing.assert_allclose(scored, load_reward_model(tmp_path / "reward").last_scores([(3, 4, 5, 6)]), atol=1e-5)


def test_adapters_that_a_model_cannot_have_are_one_sentence():
    with pytest.raises(ValueError, match=r"train = 'lora:2': a PhimoeForCausalLM fails with adapters .* top:K"):
        choose_part(network("PhimoeConfig", **EXPERTS), "lora:2", seed=0)


@pytest.mark.parametrize(("record", "files", "said"), [
    ('{"base_model_name_or_path": null}', ["config.json"], "an adapter of 'another model' .* and no model"),
    ('{"base_model_name_or_path": "a/b"}', ["config.json", "model.safetensors"], "an adapter of .* beside a model"),
    ("[]", [], "an adapter of 'another model' .* and no model"),
    ("{", [], "an adapter of 'another model' .* and no model"),
])  # fmt: skip
def test_a_folder_with_an_adapter_is_refused_whatever_else_it_holds(record, files, said, tmp_path):
    (tmp_path / "whole").mkdir()
    network("LlamaConfig", **ENCODER).save_pretrained(tmp_path / "whole")
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(record)
    for name in files:
        (folder / name).write_bytes((tmp_path / "whole" / name).read_bytes())
    for read in (load, lambda path: Classifier.load(str(path))):
        with pytest.raises(ValueError, match=f"holds {said}: merge it"):
            read(folder)
