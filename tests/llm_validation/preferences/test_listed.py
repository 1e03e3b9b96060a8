"""Scores, listed responses and NLHF: what is read, against tables by hand, another loss, and a game played out."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from llm_validation.commands.align import align_main
from llm_validation.losses.pairs import pro_pairwise
from llm_validation.model.text_boundaries import TextBoundaries
from llm_validation.preferences.data import Preferences, feedback_of, read_preferences
from llm_validation.preferences.listed import listed, nash_objective, pro_scalar_objective, rlhf_objective
from llm_validation.preferences.objectives import PreferenceTraining, objective_of_loss, scored_examples
from tests.oracles.toy_preferences import CONTEXT, preferences, word_tokenizer, written
from theory.policy import rlhf_penalty

HOW = PreferenceTraining(seed=0, batch=3)
MANY = {"prompt": "w2", "completions": [" w3", " w4", " w5"], "scores": [1.0, 2.0, 6.0]}
RANKED = {"prompt": "w2", "ranking": [" w3", " w4", " w5"]}


def read(tmp_path, *records) -> Preferences:
    return read_preferences(written(tmp_path, *records), TextBoundaries.of(word_tokenizer()), CONTEXT)


def test_forms_of_files(tmp_path):
    many = read(tmp_path, MANY, {**MANY, "prompt": "w9"})
    one = [{"prompt": p, "completion": c, "score": s}
           for p in ("w2", "w9") for c, s in zip(MANY["completions"], MANY["scores"], strict=True)]  # fmt: skip
    single = read(tmp_path, *one)
    for data in (many, single):
        assert [e.completion[0] for e in data.chosen] == [5, 5], "the mean of 1, 2, 6 is 3"
        assert feedback_of(data) == [6.0, 6.0, 1.0, 2.0, 1.0, 2.0]
    pairs = read(tmp_path, RANKED)
    assert pairs.paired
    assert [(a.completion[0], b.completion[0]) for a, b in zip(pairs.chosen, pairs.rejected, strict=True)] == [
        (3, 4), (3, 5), (4, 5)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({**MANY, "scores": [1.0, 2.0]}, "3 completions and 2 scores"),
        ({**MANY, "scores": [1.0, 1.0, 1.0]}, "no score differs from the mean"),
        ({**MANY, "scores": [1.0, 2.0, True]}, "field 'scores' must be a finite number, .* got True"),
        ({"prompt": "w2", "completion": "w3", "score": "4"}, "field 'score' must be a finite number, .* got '4'"),
        ({"prompt": "w2", "completion": "w3", "score": 10**400}, "of at most 1e.38 in size, got 1000"),
        ({**MANY, "scores": [1e308, 0.0, -1e308]}, "of at most 1e.38 in size, got 1e.308"),
        ({**MANY, "scores": [0.0, float("nan"), 1.0]}, "must be a finite number, .* got nan"),
        ({"prompt": "w2", "ranking": ["w3"]}, "lists 1 completion"),
        ({**RANKED, "chosen": "w3"}, "field 'chosen' in a file of prompt, ranking"),
    ],
)
def test_what_a_form_refuses(record, said, tmp_path):
    with pytest.raises(ValueError, match=said):
        read(tmp_path, record)


def test_scores_are_centred_by_prompt_and_over_all_where_a_prompt_has_one(tmp_path):
    assert scored_examples(preferences(2)).tolist() == [0.5, 0.5, -0.5, -0.5]
    labels = [{"prompt": f"w{i}", "completion": " w9", "label": i == 2} for i in range(2, 12)]
    assert scored_examples(read(tmp_path, *labels)) == pytest.approx([0.9] + 9 * [-0.1])
    assert scored_examples(read(tmp_path, MANY)) == pytest.approx([3.0, -2.0, -1.0])


def at(objective, chosen, rejected, ratios) -> torch.Tensor:
    """The loss of one batch of everything, at log-ratios (N,)."""
    before = torch.cat([chosen, rejected])
    objective.at(chosen, rejected)
    sides = (before + ratios).split([len(chosen), len(rejected)])
    return objective(sides, (chosen, rejected), None, (np.arange(len(chosen)), np.arange(len(rejected))))


def test_pro_s_on_single_pairs_is_pro_p():
    """α/3 times the mean of three pairs is α/9 times their sum; a fifth pair repeats the first prompt's."""
    data = preferences(4)
    logs = torch.linspace(-9.0, -3.0, 8)
    ratios = torch.linspace(-1.0, 2.0, 8)
    found = at(pro_scalar_objective(data, {"alpha": 0.75, "kl_beta": 0.7}, HOW), logs[:4], logs[4:], ratios)
    expected = pro_pairwise(*(logs + ratios).split(4), *logs.split(4), alpha=2.25, kl_beta=0.7)
    assert float(found) == pytest.approx(float(expected), rel=1e-5)


def test_prompts_of_any_size_count_alike(tmp_path):
    three, two = MANY, {"prompt": "w9", "completions": [" w3", " w4"], "scores": [0.0, 1.0]}
    losses = []
    for records in ((three,), (two,), (three, two)):
        objective = pro_scalar_objective(read(tmp_path, *records), {"alpha": 9.0}, HOW)
        names = {(e.prompt, e.completion): -5.0 - e.completion[0] / 9.0 for e in objective.data.examples}
        before = torch.tensor([names[e.prompt, e.completion] for e in objective.data.examples])
        ratios = before * torch.tensor([0.1 if e.prompt == (2,) else 0.3 for e in objective.data.examples])
        C = len(objective.data.chosen)
        losses.append(float(at(objective, before[:C], before[C:], ratios)))
    assert losses[2] == pytest.approx(0.5 * (losses[0] + losses[1]), rel=1e-6)
    assert losses[0] != pytest.approx(losses[1], rel=1e-2)


def test_nlhf_is_least_where_a_game_played_out_ends(tmp_path):
    """Rock, paper, scissors with unequal margins: damped best responses to the regularised game, as an oracle."""
    wins = {(3, 4): 3, (4, 3): 1, (4, 5): 4, (5, 4): 1, (5, 3): 2, (3, 5): 1}
    records = [
        {"prompt": "w2", "chosen": f" w{a}", "rejected": f" w{b}"} for (a, b), n in wins.items() for _ in range(n)
    ]
    beta, words = 0.2, (3, 4, 5)
    rates = np.full((3, 3), 0.5)
    for i, a in enumerate(words):
        for j, b in enumerate(words):
            if i != j:
                rates[i, j] = wins[a, b] / (wins[a, b] + wins[b, a])
    reference = np.log([0.5, 0.2, 0.1])
    policy = np.full(3, 1 / 3)
    for _ in range(20_000):
        best = np.exp(reference + rates @ policy / beta)
        policy = 0.995 * policy + 0.005 * best / best.sum()
    objective = nash_objective(read(tmp_path, *records), {"kl_beta": beta}, HOW)
    order = [e.completion[0] - 3 for e in objective.data.examples]
    C = len(objective.data.chosen)
    before = torch.tensor(reference[order], dtype=torch.float32)
    ratios = torch.tensor((np.log(policy) - reference)[order], dtype=torch.float32)
    assert float(at(objective, before[:C], before[C:], ratios - 4.0)) == pytest.approx(0.0, abs=1e-8)
    moved = ratios + torch.tensor([0.0, 0.3, 0.0])
    assert float(at(objective, before[:C], before[C:], moved)) == pytest.approx(0.09 / 3, rel=1e-2)


def test_rlhf_on_a_list_ends_at_its_closed_form(tmp_path):
    beta, scores = 0.7, np.array([1.0, 2.0, 6.0])
    objective = rlhf_objective(read(tmp_path, MANY, {**MANY, "prompt": "w9"}), {"kl_beta": beta}, HOW)
    order = [e.completion[0] - 3 for e in objective.data.examples]  # of both prompts
    C, reference = len(objective.data.chosen), np.log([0.5, 0.2, 0.1])
    before = torch.tensor(reference[order], dtype=torch.float32)
    ratios = torch.zeros(6, requires_grad=True)
    optimiser = torch.optim.LBFGS([ratios], max_iter=200, tolerance_grad=1e-9, line_search_fn="strong_wolfe")

    def loss():
        optimiser.zero_grad()
        value = at(objective, before[:C], before[C:], ratios)
        value.backward()
        return value

    optimiser.step(loss)
    want = rlhf_penalty(scores, None, beta, log_reference=reference - np.logaddexp.reduce(reference))
    for p in (0, 1):
        own = objective.prompt == p
        reached = torch.softmax((before + ratios.detach())[own], 0).double().numpy()
        np.testing.assert_allclose(reached, want[np.array(order)[own]], atol=1e-4)
    with pytest.raises(ValueError, match="rlhf needs a reward"):
        rlhf_objective(read(tmp_path, RANKED), {}, HOW)
    single = [{"prompt": f"w{k}", "completion": " w5", "score": k} for k in (2, 3)]
    with pytest.raises(ValueError, match="lists one response to every prompt"):
        rlhf_objective(read(tmp_path, *single), {}, HOW)


def test_what_nlhf_and_scores_refuse(tmp_path):
    star = [{"prompt": "w2", "chosen": " w3", "rejected": other} for other in (" w4", " w5")]
    with pytest.raises(ValueError, match="line 1 and line 2: two responses to one prompt that were never compared"):
        nash_objective(read(tmp_path, *star), {}, HOW)
    with pytest.raises(ValueError, match="nlhf needs pairs"):
        nash_objective(read(tmp_path, MANY), {}, HOW)
    hundred = [{"prompt": "w2", "completion": f" w{i % 30 + 3} w{i // 30 + 3}", "label": i == 0} for i in range(101)]
    with pytest.raises(ValueError, match=r"no policy is optimal at or below 1\.98"):
        objective_of_loss("pro_binary", read(tmp_path, *hundred), {"alpha": 1.9}, HOW)
    objective_of_loss("pro_binary", read(tmp_path, *hundred), {"alpha": 1.9}, replace(HOW, anyway=True))


def test_a_prompt_listed_twice_is_one(tmp_path):
    (group,) = listed(read(tmp_path, RANKED, {"prompt": "w2", "ranking": [" w5", " w3"]}))
    assert len(group.responses) == 3
    assert len(group.judged) == 4


@pytest.mark.parametrize(("method", "records", "said"), [
    ("pro_scalar", [{**MANY, "prompt": f"w{i}"} for i in range(2, 9)], "which the scores of line"),
    ("nlhf", [{**RANKED, "prompt": f"w{i}"} for i in range(2, 9)], "on 0 of 6 prompts the win rate rests on one"),
    ("rlhf", [{**MANY, "prompt": f"w{i}"} for i in range(2, 9)], "gives the listed responses of 1 held-out prompts"),
])  # fmt: skip
def test_the_command_trains_on_them(method, records, said, base, tmp_path):
    out = tmp_path / "out"
    words = ["--method", method, "--model", str(base), "--data", str(written(tmp_path, *records)),
             "--out", str(out), "--batch", "3", "--epochs", "4", "--rate", "3e-3", "--answers", "2"]  # fmt: skip
    own = {"pro_scalar": ["--alpha", "30"], "rlhf": ["--listed"]}
    assert align_main([*words, *own.get(method, [])]) == 0
    loss = json.loads((out / "alignment.json").read_text(encoding="utf-8"))["loss"]
    assert len(loss) == 8
    assert loss[-1] < loss[0]
    assert said in (out / "report.txt").read_text(encoding="utf-8")
