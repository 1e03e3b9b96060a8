"""Models and texts of other people: where a text begins and ends, what is loaded, what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from llm_validation.commands.align import align_main
from llm_validation.commands.generate import generate_main
from llm_validation.commands.prompts import read_prompts
from llm_validation.generation.decode import best_of_n, speculative_rejection
from llm_validation.generation.engine import Sampling
from llm_validation.generation.scorers import Batch, checked_scores
from llm_validation.model.model import load
from llm_validation.model.text_boundaries import TextBoundaries
from llm_validation.preferences.data import read_preferences
from llm_validation.preferences.train import PreferenceTraining, train_on_preferences
from llm_validation.rewards.comparisons import Comparison
from llm_validation.rewards.model import RewardTraining, from_language_model, load_reward_model, train_reward_model
from llm_validation.rewards.prefix_scorer import PrefixScorer
from tests.oracles.other_models import KINDS, gpt2_style, llama3_style, on_disk, other_model, qwen_style, sentence_piece

STYLES = {"gpt2": gpt2_style, "llama2": sentence_piece, "llama3": llama3_style, "qwen": qwen_style}
MESSAGES = [{"role": "user", "content": "How are you?"}]
FINE, NO = ([{"role": "assistant", "content": text}] for text in ("fine", "no"))
PAIRS = [
    {"prompt": "How are you", "chosen": " fine, thank you.", "rejected": " no"},
    {"prompt": "The cat sat on the mat and", "chosen": " looked at the dog.", "rejected": " was a small fox."},
    {"prompt": "Once", "chosen": " upon a time there was a small fox.", "rejected": " I am"},
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def pairs_file(path, records):
    path.write_text("\n".join(json.dumps(record) for record in records))
    return path


# Where a text begins and ends


@pytest.mark.parametrize(("style", "begin"), [("gpt2", ""), ("llama2", "<s>"), ("llama3", "<|begin|>"), ("qwen", "")])
def test_a_text_begins_as_the_tokenizer_has_it(style, begin):
    tokenizer = STYLES[style]()
    texts = TextBoundaries.of(tokenizer)
    assert list(texts.prompt("How are you")) == tokenizer("How are you")["input_ids"]
    assert "".join(tokenizer.convert_ids_to_tokens(list(texts.begin))) == begin


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("prompt", "completion"), [("un", "happy"), ("How are", " you"), ("The ", "cat"), ("a", "…é")])
def test_a_border_changes_no_text(style, prompt, completion):
    tokenizer = STYLES[style]()
    first, rest = TextBoundaries.of(tokenizer).split(prompt, completion)
    whole = tokenizer(prompt + completion)["input_ids"]
    assert list(first + rest) == [*whole, tokenizer.eos_token_id]
    assert tokenizer.decode(first, skip_special_tokens=True).strip() in prompt


def test_all_end_tokens_end_a_response():
    model, tokenizer = other_model("llama3")
    texts = TextBoundaries.of(tokenizer, model)
    assert texts.ends == (1, 2)
    assert texts.split("How", " are<|eot|>")[1][-1] == 2  # a text that has an end gets no second one


def test_a_template_s_beginning_is_not_doubled():
    texts = TextBoundaries.of(llama3_style())
    assert texts.prompt("<|begin|>How") == texts.prompt("How")


@pytest.mark.parametrize("record", [
    {"prompt": MESSAGES, "chosen": FINE, "rejected": NO},
    {"chosen": MESSAGES + FINE, "rejected": MESSAGES + NO},
    {"prompt": "How are you?", "chosen": MESSAGES + FINE, "rejected": MESSAGES + NO, "score_chosen": 8.0},
])  # fmt: skip
def test_messages_become_a_text_by_the_chat_template(record, tmp_path):
    tokenizer = qwen_style()
    data = read_preferences(pairs_file(tmp_path / "m.jsonl", [record]), TextBoundaries.of(tokenizer), 128)
    (chosen,), (rejected,) = data.chosen, data.rejected
    assert tokenizer.decode(chosen.prompt) == "<|im_start|>user\nHow are you?<|im_end|>\n<|im_start|>assistant\n"
    assert tokenizer.decode(chosen.completion) == "fine<|im_end|>"
    assert tokenizer.decode(rejected.completion) == "no<|im_end|>"
    with pytest.raises(ValueError, match=r"m\.jsonl, line 1: the tokenizer has no chat template"):
        read_preferences(tmp_path / "m.jsonl", TextBoundaries.of(gpt2_style()), 128)


@pytest.mark.parametrize("record", [
    {"prompt": MESSAGES, "chosen": FINE + MESSAGES + FINE, "rejected": FINE + MESSAGES + NO},
    {"prompt": MESSAGES, "completion": FINE + MESSAGES + FINE, "label": True},
    {"prompt": MESSAGES, "ranking": [FINE, FINE + MESSAGES + NO]},
    {"prompt": MESSAGES, "completions": [FINE, FINE + MESSAGES + NO], "scores": [1, 2]},
    {"chosen": MESSAGES + FINE + MESSAGES, "rejected": MESSAGES + FINE + MESSAGES},
])  # fmt: skip
def test_what_the_user_says_after_an_answer_is_not_trained_on(record, tmp_path):
    path = pairs_file(tmp_path / "m.jsonl", [record])
    with pytest.raises(ValueError, match=r"m\.jsonl, line 1: an answer holds a message of 'user', which would be"):
        read_preferences(path, TextBoundaries.of(qwen_style()), 128)


def test_a_transcript_s_answer_has_no_further_turn_of_the_user(tmp_path):
    record = {"chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: d",
              "rejected": "\n\nHuman: a\n\nAssistant: e"}  # fmt: skip
    for one in (record, {"chosen": record["rejected"], "rejected": record["chosen"]}):
        with pytest.raises(ValueError, match=r"t\.jsonl, line 1: what follows the common beginning holds '.*Human:'"):
            read_preferences(pairs_file(tmp_path / "t.jsonl", [one]), TextBoundaries.of(gpt2_style()), 128)


def test_transcripts_are_split_where_the_answers_begin(tmp_path):
    record = {side: f"\n\nHuman: hello\n\nAssistant: {text}" for side, text in (("chosen", "hi"), ("rejected", "how"))}
    tokenizer = gpt2_style()
    data = read_preferences(pairs_file(tmp_path / "t.jsonl", [record]), TextBoundaries.of(tokenizer), 128)
    assert tokenizer.decode(data.chosen[0].prompt) == "\n\nHuman: hello\n\nAssistant:"
    assert tokenizer.decode(data.rejected[0].completion) == " how<|endoftext|>"


def test_tables_and_lists_are_read_too(tmp_path):
    texts = TextBoundaries.of(gpt2_style())
    (tmp_path / "p.json").write_text(json.dumps(PAIRS))
    (tmp_path / "p.csv").write_text('prompt,chosen,rejected\nHow," are you"," no"\n')
    assert len(read_preferences(tmp_path / "p.json", texts, 128).chosen) == 3
    assert read_preferences(tmp_path / "p.csv", texts, 128).chosen[0].line == 2


def test_prompts_of_json_are_a_field_not_a_text(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"prompt": "How are you"}\n{"prompt": "Once upon\\na time"}\n')
    assert read_prompts(tmp_path / "p.jsonl") == [(1, "How are you"), (2, "Once upon\na time")]
    (tmp_path / "p.csv").write_text('prompt,more\n"How, you",1\n')
    assert read_prompts(tmp_path / "p.csv") == [(2, "How, you")]
    (tmp_path / "p.txt").write_bytes("\ufeffHow\r\n\n{you}\u2028\x0cdo\n".encode())
    assert read_prompts(tmp_path / "p.txt") == [(1, "How"), (3, "{you}\u2028\x0cdo")]


@pytest.mark.parametrize(
    ("name", "holds", "said"),
    [
        ("q.jsonl", '{"text": "How"}\n', r"q\.jsonl, line 1: no text or messages in field 'prompt'.*has 'text'"),
        ("q.jsonl", '{"prompt": ["How", "are"]}\n', r"line 1: no text or messages in field 'prompt'"),
        ("q.json", '[{"prompt": [{"content": "How"}]}]', r"q\.json, entry 1: no text or messages in field 'prompt'"),
        ("q.txt", '{"prompt": "How"}\n{"prompt": "are"}\n', r"q\.txt holds JSON objects.*call it \.jsonl"),
        ("q.txt", "\n", r"q\.txt holds no prompt"),
        ("q.txt", b"caf\xe9\n", r"q\.txt, line 1: not UTF-8 text"),
    ],
)
def test_what_is_no_prompt_is_named(name, holds, said, tmp_path):
    (tmp_path / name).write_bytes(holds if isinstance(holds, bytes) else holds.encode())
    with pytest.raises(ValueError, match=said):
        read_prompts(tmp_path / name)


def test_what_a_chat_template_refuses_is_said():
    tokenizer = gpt2_style()
    tokenizer.chat_template = "{{ raise_exception('no system message here') }}"
    with pytest.raises(ValueError, match="the chat template refuses these messages: no system message here"):
        TextBoundaries.of(tokenizer).chat([{"role": "system", "content": "x"}])


# Models


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_step_of_dpo_equals_a_plain_loop(kind, tmp_path):
    model, tokenizer = other_model(kind)
    data = read_preferences(pairs_file(tmp_path / "p.jsonl", PAIRS), TextBoundaries.of(tokenizer, model), 128)
    run = train_on_preferences(
        model, data, "dpo", PreferenceTraining(seed=0, batch=2, rate=1e-9), options={"kl_beta": 1.0}
    )
    np.testing.assert_allclose(run.loss, np.log(2), atol=1e-5)
    plain = []
    for example in (*data.chosen, *data.rejected):
        tokens = torch.tensor([example.prompt + example.completion])
        logs = torch.log_softmax(model(input_ids=tokens).logits[0].detach().double(), -1)
        first = len(example.prompt)
        plain.append(sum(float(logs[first + k - 1, token]) for k, token in enumerate(example.completion)))
    margin = np.array(plain[:3]) - np.array(plain[3:])
    half = PreferenceTraining(seed=0, batch=3, rate=1e-9)
    found = train_on_preferences(model, data, lambda a, b, c, d: -(a - b).mean(), half)
    assert found.loss[0] == pytest.approx(-margin.mean(), rel=1e-5, abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gemma2", "bloom", "llama3", "lfm2", "mamba", "falcon_h1"])
def test_generation_is_exact(kind, folder, tmp_path):
    """The greedy answer is that of the model's own forward pass, whatever rows it shares a cache with."""
    path = on_disk(folder, kind)
    loaded = load(path)
    texts = TextBoundaries.of(loaded.tokenizer, loaded.model)
    prompts = [texts.prompt("How are you"), texts.prompt("The cat sat on the mat and looked at the")]
    longest = lambda batch: np.array([float(len(r)) for r in batch.responses])
    sampling = Sampling(6, (), temperature=1e-4)
    found = best_of_n(loaded.model, prompts, 2, longest, sampling, seed=0)
    for prompt, response in zip(prompts, found.returned, strict=True):
        tokens = list(prompt)
        for _ in range(6):
            logits = loaded.model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1]
            tokens.append(int(logits.argmax()))
        assert list(response.tokens) == tokens[len(prompt) :]


SCALED = {
    "rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 8, "factor": 16.0,
    "short_factor": [1.0] * 4, "long_factor": [4.0] * 4,
}  # fmt: skip
LONGROPE = {"original_max_position_embeddings": 8, "rope_parameters": SCALED}


@pytest.mark.parametrize("kind", ["lfm2", "mamba", "falcon_h1", "gemma2"])
def test_a_cached_reward_is_that_of_the_whole_text(kind):
    """Several tokens between decisions, rows that leave, rows that end: a state is neither lost nor shared."""
    model, tokenizer = other_model(kind)
    texts = TextBoundaries.of(tokenizer, model)
    prompts = [texts.prompt("How are you"), texts.prompt("The cat sat on the mat and looked at the")]
    reward = from_language_model(model)
    with torch.no_grad():
        reward.head.weight.copy_(torch.linspace(-1, 1, 32)[None])
    sampling, options = Sampling(9, tuple(range(3, 30))), {"seed": 0, "times": (3, 7)}
    plain, cached = (
        speculative_rejection(model, prompts, 8, 0.4, score, sampling, **options)
        for score in (reward.score, PrefixScorer(reward))
    )
    assert (plain.lengths[plain.finished] < 7).any(), "rows that end between decisions"
    np.testing.assert_array_equal(cached.tokens, plain.tokens)
    np.testing.assert_allclose(cached.rewards, plain.rewards, atol=1e-4)
    for ours, right in zip(cached.decisions, plain.decisions, strict=True):
        np.testing.assert_allclose(ours.scores, right.scores, atol=1e-4)


@pytest.mark.parametrize(("config", "message"), [
    ("RecurrentGemmaConfig", "RecurrentGemma.* does not read on from a cache as it reads a whole text"),
    ("RwkvConfig", "Rwkv.* does not read on from a cache"),
    ("xLSTMConfig", "xLSTM.* keeps its state in a way that rows cannot share"),
])  # fmt: skip
def test_a_state_that_no_cache_holds_is_refused(config, message):
    options = {"num_hidden_layers": 3, "hidden_size": 32, "vocab_size": 40, "lru_width": 32, "num_heads": 2}
    torch.manual_seed(0)
    configuration = getattr(transformers, config)(**options, num_attention_heads=4, attention_window_size=16)
    model = transformers.AutoModelForCausalLM.from_config(configuration).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.normal_(0, 0.25)
    with pytest.raises(ValueError, match=message):
        best_of_n(model, [(3, 4)], 2, lambda batch: np.zeros(len(batch.rows)), Sampling(4, ()), seed=0)
    with pytest.raises(ValueError, match=message):
        PrefixScorer(from_language_model(model))


def test_positions_that_are_rescaled_on_the_way_are_refused():
    """Within the length, and beyond it from the start, a model with longrope factors writes exactly."""
    model, _ = other_model("phi3", **LONGROPE)
    zero = lambda batch: np.zeros(len(batch.rows))
    sampling = Sampling(4, (), temperature=1e-4)
    for prompt in ((9, 8, 7, 6, 5), tuple(range(9, 20))):
        written = list(prompt)
        for _ in range(4):
            written.append(int(model(input_ids=torch.tensor([written]), use_cache=False).logits[0, -1].argmax()))
        found = best_of_n(model, [prompt], 2, zero, sampling, seed=0)
        assert list(prompt + found.returned[0].tokens) == written
    for prompts in ([(9, 8, 7, 6, 5, 4)], [tuple(range(9, 17))], [(9,), tuple(range(9, 20))]):
        with pytest.raises(ValueError, match="goes beyond 8, where this model's longrope factors change"):
            best_of_n(model, prompts, 2, zero, sampling, seed=0)
    reward = from_language_model(model)
    with pytest.raises(ValueError, match="a text of 9 tokens goes beyond 8"):
        reward.last_scores([(3,) * 9, (3, 4)])
    with pytest.raises(ValueError, match="a text of 9 tokens goes beyond 8"):
        train_reward_model(model, [Comparison((3,) * 9, (3, 4), 1)], RewardTraining(steps=1, batch=1), seed=0)
    scorer, rows, names = PrefixScorer(reward), np.arange(1), ((0, 0),)
    scorer(Batch(rows, names, ((3, 4),), ((5,),), False))
    with pytest.raises(ValueError, match="a text of 9 tokens goes beyond 8"):
        scorer(Batch(rows, names, ((3, 4),), ((5,) * 7,), False))


def test_a_text_must_not_depend_on_its_batch(tmp_path):
    """Positions scaled by the longest text of a batch: the reference of a text is then no number."""
    model, tokenizer = other_model("phi3", **LONGROPE)
    long = {"prompt": "The cat sat on the mat and looked", "chosen": " at the dog and a fox", "rejected": " no"}
    short = [{"prompt": prompt, "chosen": "o", "rejected": "u"} for prompt in "HTAO"]
    records = [record for one in short for record in (one, long)]
    data = read_preferences(pairs_file(tmp_path / "p.jsonl", records), TextBoundaries.of(tokenizer, model), 128)
    with pytest.raises(ValueError, match=r"p\.jsonl, line \d: its log-probability is .* in one batch and"):
        train_on_preferences(model, data, "dpo", PreferenceTraining(seed=1, batch=2))


def test_a_token_beyond_the_embedding_is_named(folder, tmp_path, capsys):
    path = on_disk(folder / "small", "gpt2", vocab_size=280)
    data = pairs_file(tmp_path / "p.jsonl", PAIRS)
    words = ["--method", "dpo", "--model", str(path), "--data", str(data), "--out", str(tmp_path / "out")]
    assert align_main(words) == 2
    assert "line 1 has token" in (said := capsys.readouterr().err)
    assert "beyond the model's 280 embeddings" in said


BROKEN = {
    "missing": (
        lambda w: {k: v for k, v in w.items() if "layers.1.mlp.up" not in k},
        "are not there, and would be random",
    ),
    "unused": (lambda w: {**w, "model.layers.9.weight": torch.ones(2)}, "belong to no part of the model"),
    "shape": (
        lambda w: {k: v[:, :16].contiguous() if "layers.1.mlp.up" in k else v for k, v in w.items()},
        "have another shape than the configuration says: model.layers.1.mlp.up_proj.weight",
    ),
    "no number": (lambda w: {k: v * float("nan") if "norm" in k else v for k, v in w.items()}, "not finite"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_weights_that_are_not_the_whole_model_are_refused(fault, folder, tmp_path):
    path = on_disk(tmp_path, "llama3")
    change, message = BROKEN[fault]
    save_file(change(load_file(path / "model.safetensors")), path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=message):
        load(path)


@pytest.mark.parametrize(("name", "keep", "message"), [
    ("model.safetensors", 0.5, "the folder holds no model that can be read: Error while deserializing"),
    ("tokenizer.json", 0.5, "the folder holds no model that can be read"),
    ("tokenizer.json", 0.0, "the folder holds no model that can be read|reads no text: are its files there"),
    ("config.json", 0.5, "is not a valid JSON file"),
])  # fmt: skip
def test_a_file_of_a_model_that_is_cut_off_or_missing_is_one_sentence(name, keep, message, tmp_path):
    file = on_disk(tmp_path, "gpt2") / name
    whole = file.read_bytes()
    file.unlink()
    if keep:
        file.write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(ValueError, match=message) as caught:
        load(file.parent)
    assert "\n" not in str(caught.value)


def test_a_reward_model_that_cannot_be_read_is_one_sentence(tmp_path):
    path = on_disk(tmp_path, "gpt2")
    save_file({"head.weight": torch.ones(1)}, path / "reward.safetensors")
    with pytest.raises(ValueError, match=r"holds no reward model that can be read: .*state_dict") as caught:
        load_reward_model(path)
    assert "\n" not in str(caught.value)


def test_an_adapter_is_named_as_one(tmp_path, capsys):
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "somebody/model"}')
    (tmp_path / "p.txt").write_text("How\n")
    words = ["--model", str(tmp_path), "--prompts", str(tmp_path / "p.txt"), "--reward", "length", "--n", "2"]
    assert generate_main(words) == 2
    assert "holds an adapter of 'somebody/model'" in capsys.readouterr().err


def test_scores_in_bf16_are_scores():
    batch = Batch(np.arange(2), ((0, 0), (0, 1)), ((1,), (1,)), ((2,), (3,)), True)
    scores = checked_scores(lambda b: torch.tensor([1.5, -2.0], dtype=torch.bfloat16), batch)
    assert scores.tolist() == [1.5, -2.0]
