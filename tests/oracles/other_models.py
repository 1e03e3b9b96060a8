"""Tiny random models of other people's architectures, with tokenizers in their styles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

TEXTS = [
    "The cat sat on the mat and looked at the dog.", "How are you today? I am fine, thank you.",
    "un happy unhappy kind",
    "Once upon a time there was a small fox.", "Human: hello\n\nAssistant: hi there, how can I help?",
]  # fmt: skip
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def byte_level(*specials: str, begin: str | None = None, **names: str) -> PreTrainedTokenizerFast:
    """GPT-2's style; with `begin` Llama 3's, whose tokenizer puts it before every text."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made.train_from_iterator(
        TEXTS * 9,
        trainers.BpeTrainer(
            vocab_size=300, special_tokens=list(specials), initial_alphabet=alphabet, show_progress=False
        ),
    )
    if begin:
        template = processors.TemplateProcessing(
            single=f"{begin} $A", special_tokens=[(begin, made.token_to_id(begin))]
        )
        made.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
        names["bos_token"] = begin
    return PreTrainedTokenizerFast(tokenizer_object=made, **names)


def sentence_piece() -> PreTrainedTokenizerFast:
    """Llama 2's style: a blank before every text, <s> before that."""
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    made.decoder = decoders.Metaspace(replacement="▁", prepend_scheme="always")
    made.train_from_iterator(
        TEXTS * 9, trainers.BpeTrainer(vocab_size=200, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    )
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def gpt2_style() -> PreTrainedTokenizerFast:
    return byte_level("<|endoftext|>", bos_token="<|endoftext|>", eos_token="<|endoftext|>")


def qwen_style() -> PreTrainedTokenizerFast:
    found = byte_level("<|endoftext|>", "<|im_start|>", "<|im_end|>", eos_token="<|im_end|>", pad_token="<|endoftext|>")
    found.chat_template = CHATML
    return found


def llama3_style() -> PreTrainedTokenizerFast:
    return byte_level("<|begin|>", "<|end|>", "<|eot|>", begin="<|begin|>", eos_token="<|end|>")


SMALL = dict(
    hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=128, bos_token_id=None, eos_token_id=None, pad_token_id=None,
)  # fmt: skip
#: Architecture → its tokenizer, its configuration's class and what differs from `SMALL`.
KINDS: dict[str, tuple[Callable[[], PreTrainedTokenizerFast], str, dict[str, Any]]] = {
    "llama2": (sentence_piece, "LlamaConfig", {"eos_token_id": 2}),
    "llama3": (llama3_style, "LlamaConfig", {"eos_token_id": [1, 2]}),
    "qwen2": (qwen_style, "Qwen2Config", {"eos_token_id": [2, 0]}),
    "gemma2": (sentence_piece, "Gemma2Config", {
        "head_dim": 8, "sliding_window": 8, "query_pre_attn_scalar": 8, "final_logit_softcapping": 3.0,
        "attn_logit_softcapping": 5.0, "eos_token_id": 2,
    }),
    "phi3": (sentence_piece, "Phi3Config", {"eos_token_id": 2, "pad_token_id": 2}),
    "granite": (gpt2_style, "GraniteConfig", {"logits_scaling": 4.0, "embedding_multiplier": 6.0, "eos_token_id": 0}),
    "lfm2": (qwen_style, "Lfm2Config", {"eos_token_id": 2, "layer_types": ["conv", "full_attention"]}),
    "gpt2": (gpt2_style, "GPT2Config", {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}),
    "bloom": (gpt2_style, "BloomConfig", {"n_layer": 2, "n_head": 4}),
    "mamba": (gpt2_style, "MambaConfig", {"state_size": 8}),
    "falcon_h1": (qwen_style, "FalconH1Config", {
        "mamba_d_ssm": 64, "mamba_d_state": 8, "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_n_groups": 1,
        "mamba_chunk_size": 4, "eos_token_id": 2,
    }),
}  # fmt: skip


def other_model(kind: str, **changes: Any) -> tuple[Any, PreTrainedTokenizerFast]:
    """A model of that kind with sharp weights, so that a wrong position or mask shows, and its tokenizer."""
    tokenizer, config, own = KINDS[kind]
    made = tokenizer()
    plain = kind in ("gpt2", "bloom", "mamba")
    base = {"hidden_size": 32, "num_hidden_layers": 2, "bos_token_id": 0, "eos_token_id": 0} if plain else SMALL
    if kind == "gpt2":
        base = {"bos_token_id": 0, "eos_token_id": 0}
    options = {**base, **own, **changes}
    configuration = getattr(transformers, config)(vocab_size=options.pop("vocab_size", len(made)), **options)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(configuration).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim == 2:
                    parameter.normal_(0, 0.25)
    if "eos_token_id" in own:
        model.generation_config.eos_token_id = own["eos_token_id"]
    return model, made


def on_disk(folder: Path, kind: str, **changes: Any) -> Path:
    """Such a model in a folder of its own."""
    model, tokenizer = other_model(kind, **changes)
    model.save_pretrained(folder / kind)
    tokenizer.save_pretrained(folder / kind)
    return folder / kind
