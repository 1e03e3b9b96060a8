"""What was planted in small data is named: kinds, graphs, thresholds, noise, lengths, kinds of users."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest

from llm_validation.advise import accuracy
from llm_validation.advise.accuracy import Accuracy, difference
from llm_validation.advise.findings import counts, existence, kind
from llm_validation.advise.optima import optima
from llm_validation.advise.pilot import batch_of
from llm_validation.advise.sections import _distance, _same_kl, reference_lines
from llm_validation.advise.whose import whose
from llm_validation.model.text_boundaries import TextBoundaries
from llm_validation.preferences.data import Example, Preferences, epoch_batches, read_preferences
from llm_validation.preferences.objectives import PreferenceTraining
from llm_validation.preferences.trace import Mean, Watch, answers
from llm_validation.preferences.train import train_on_preferences
from tests.oracles.toy_preferences import BAD, CONTEXT, GOOD, PAIR, model, naive, preferences, word_tokenizer, written


def pairs(*judgements, prompt=2, longer=0):
    sides = [tuple(Example((prompt,), (3 + j[s],) * (1 + longer * (s == 0)), k) for k, j in enumerate(judgements))
             for s in (0, 1)]  # fmt: skip
    return Preferences("planted", *sides, paired=True)


def values(findings):
    return {f.name: f.value for f in findings}


@pytest.mark.parametrize(
    ("data", "attained", "flat", "conflicts", "duplicates"),
    [
        (pairs((0, 1)), 0, 1, 0, 0),  # one pair: separable, and the unlabelled
        (pairs((0, 1), (1, 0), (0, 1)), 1, 1, 1, 1),
        (pairs((0, 1), (1, 0), (2, 3), (3, 2)), 1, 2, 2, 0),  # two islands
        (pairs((0, 1), (1, 2), (2, 0)), 1, 1, 0, 0),  # a cycle
        (pairs((0, 1), (1, 0), (0, 2)), 0, 1, 1, 0),  # connected, and 2 never wins: though 0 and 1 are in both classes
    ],
)
def test_comparison_graphs(data, attained, flat, conflicts, duplicates):
    found = values([*counts(data), *existence(data)])
    assert (found["dpo"], found["flat"]) == (attained, flat)
    assert (found["conflicts"], found["duplicates"]) == (conflicts, duplicates)
    exists = {o.method: o.exists for o in optima(data, batch=4)}
    assert exists["dpo"] is (attained == 1)
    assert exists["pro_pairwise"]
    assert exists["bco"] is (data.chosen != data.rejected and len(data.chosen) > 2 and attained == 1)


def test_thresholds():
    assert values(existence(pairs((0, 1))))["pro"] == pytest.approx(9 / 8)  # P9
    assert values(existence(pairs((0, 1), (1, 0))))["pro"] == 0
    rejected = tuple(Example((2,), (4,), k) for k in range(100))
    found = values(existence(Preferences("planted", (Example((2,), (3,), 0),), rejected, paired=False)))
    assert found["pro_binary"] == pytest.approx(200 / 101)
    assert found["kldo"] == float("inf")  # a chosen response that is never rejected


@pytest.mark.parametrize(
    ("chosen", "rejected", "paired"), [(5, 5, True), (9, 9, True), (5, 5, False), (20, 380, False)]
)
def test_kldo_is_judged_by_the_batches_that_are_trained_on(chosen, rejected, paired):
    """Fewer pairs than a batch, or one class so rare that it must be larger: 5, 4.5, 2.5 and 19."""
    sides = [tuple(Example((2,), (3 + k % 2,), k) for k in range(n)) for n in (chosen, rejected)]
    if paired:
        sides[1] = tuple(Example((2,), (4 - k % 2,), k) for k in range(rejected))
    data = Preferences("planted", *sides, paired=paired)
    size = batch_of(data, 8)
    mean = np.mean([rows.size for _, rows in epoch_batches(data, size, 0, 0)])
    assert f"has {mean:.4g} on average" in {o.method: o.why for o in optima(data, size)}["kldo"]


RANKED = [{"prompt": f"w{k + 2}", "ranking": [" w30", " w31 w3", " w32"][: 2 + k % 2]} for k in range(8)]
SCORED = [
    {"prompt": f"w{k + 2}", "completions": [" w30", " w31", " w32"], "scores": [k, 0.5 * k, -k]} for k in range(4)
]


@pytest.mark.parametrize(
    ("records", "what", "holds"),
    [
        ([PAIR], "pairs", {"chosen": 1, "judged_most": 1}),
        (RANKED, "ranked lists", {"lists": 8, "listed": 2.5, "chosen": 16, "judged_most": 3, "prompts": 8}),
        (SCORED, "scores", {"score": 0.25, "one_class": 1, "judged_most": 3, "chosen_share": 0.5, "conflicts": 0}),
        ([GOOD, BAD, {**GOOD, "prompt": "w3"}], "binary labels", {"chosen_share": 0.5, "one_class": 0, "conflicts": 1}),
    ],
)  # fmt: skip
def test_what_kind_the_data_are(tmp_path, records, what, holds):
    texts = TextBoundaries.of(word_tokenizer(), model())
    data = read_preferences(written(tmp_path, *records), texts, CONTEXT)
    assert kind(data) == what
    found = {f.name: f for f in counts(data)}
    assert {name: found[name].value for name in holds} == holds
    thresholds, exists = values(existence(data)), {o.method: o for o in optima(data, 4)}
    for name in ("pro_binary", "pro_scalar") if not data.paired else ():  # the report and what training checks agree
        assert thresholds[name] == pytest.approx(float(re.search(r"threshold ([\d.]+)", exists[name].why)[1]), rel=1e-3)
    if what == "scores":
        assert found["score"].error == pytest.approx(np.std([0, 0.5, 1, 1.5], ddof=1) / 3 / 2)  # over four prompts
        assert thresholds["pro_binary"] == pytest.approx(2 * 3.5)  # scores 3, 1.5, −3 less their mean: −3.5


def test_errors_are_over_prompts_where_pairs_share_them():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 6)
    draws = [np.repeat(rng.normal(size=30), 6) + 0.1 * rng.normal(size=180) for _ in range(400)]
    spread = np.std([x.mean() for x in draws])
    assert np.mean([Mean.of(x, groups).stderr for x in draws]) == pytest.approx(spread, rel=0.1)
    assert np.mean([Mean.of(x).stderr for x in draws]) < 0.6 * spread
    far = np.arange(30).repeat(2)
    sums = [(x.reshape(30, 6)[:, :4].ravel(), x.reshape(30, 6)[:, 4:].ravel()) for x in draws]
    found = np.mean([Mean.sum(a, b, (np.repeat(np.arange(30), 4), far)).stderr for a, b in sums])
    assert found == pytest.approx(np.std([a.mean() + b.mean() for a, b in sums]), rel=0.1)
    noise = [Accuracy.of(x, np.zeros(180), paired=True, groups=(groups, groups)).by_chance for x in draws]
    assert np.mean(np.array(noise) < 0.05) < 0.08, "a list counts once"


@pytest.mark.parametrize("flipped", [0.1, 0.3])
def test_label_noise_of_repeated_judgements(flipped):
    rng = np.random.default_rng(0)
    judged = [(2 * k, 2 * k + 1)[:: -1 if rng.random() < flipped else 1] for k in range(150) for _ in range(4)]
    found = {f.name: f for f in counts(pairs(*judged))}["noise"]
    assert abs(found.value - flipped) < 2.6 * found.error < 0.1
    labels = [rng.random() < flipped for _ in range(600)]
    sides = [tuple(Example((2,), (3 + k // 4,), k) for k in range(600) if (labels[k] ^ (k % 8 < 4)) is side)
             for side in (True, False)]  # fmt: skip
    found = {f.name: f for f in counts(Preferences("planted", *sides, paired=False))}["noise"]
    assert abs(found.value - flipped) < 2.6 * found.error < 0.1
    assert "cannot be told" in {f.name: f for f in counts(pairs((0, 1), (2, 3)))}["noise"].text


def test_chosen_that_are_longer_are_named():
    long, short = (
        {f.name: f for f in counts(pairs(*[(2 * k, 2 * k + 1) for k in range(20)], longer=n))} for n in (2, 0)
    )
    assert (long["length"].value, long["length"].error) == (2.0, 0.0)
    assert long["length_rule"].value == 1.0
    assert "a method may learn just that" in long["length_rule"].text
    assert "a method may learn just that" not in short["length_rule"].text
    assert {f.name: f for f in counts(pairs((0, 1)))}["length"].error is None


@pytest.mark.parametrize("types", [1, 2])
def test_two_kinds_of_users_are_named_and_their_responses_audited(types):
    rng = np.random.default_rng(3)
    users, judged = [], []
    for user in range(40):
        for one, other in ((0, 1), (0, 2), (1, 2)):
            likes_first = (rng.random() < 0.9) ^ (types == 2 and user % 2 == 1)
            judged.append((one, other) if likes_first else (other, one))
            users.append(user)
    law = lambda some: np.full(len(some), 1 / len(some))
    said = [f.text for f in whose(pairs(*judged), np.array(users), [3.0], lambda e: f"w{e.completion[0]}", law)]
    assert ("users are of more than one kind" in said[0]) is (types == 2)
    assert "the model gives 1 (w3) 0.333" in "".join(said)
    assert any(line.startswith("ask next: ") for line in said)
    assert any("give --bt-beta" in f.text for f in whose(pairs(*judged), None, [], lambda e: "", law))


def test_a_reference_far_from_the_data_is_named():
    net, data = model(), preferences(40)
    train_on_preferences(net, data, "dpo", PreferenceTraining(seed=0, epochs=6, batch=8, rate=1e-2))
    own = answers(net, Watch(data, (0,), answers=40, tokens=8), 0, "own", CONTEXT)
    logs = {name: np.array([naive(net, e).item() for e in side])
            for name, side in (("chosen", data.chosen), ("rejected", data.rejected), ("own", own))}  # fmt: skip
    good, bad = ("chosen", data.chosen, logs["chosen"]), ("rejected", data.rejected, logs["rejected"])
    near, far = (reference_lines([one, ("rejected", *other[1:]), ("own", own, logs["own"])], paired=True,
                                 begun=[one[1:], other[1:]])
                 for one, other in ((good, bad), (("chosen", *bad[1:]), good)))  # fmt: skip
    assert "fine_tune" not in values(near)
    assert "fine_tune" in values(far)
    assert values(near)["reference_chosen"] == logs["chosen"].mean()
    assert "nearer to the chosen" in next(f.text for f in near if f.name == "reference_side")
    rate = lambda e: naive(net, e).item() / len(e.completion)
    above = [np.mean([rate(mine) > rate(e) for e in data.rejected if e.prompt == mine.prompt]) for mine in own]
    assert values(near)["reference_minus"] == pytest.approx(np.mean(above))
    assert np.mean(above) > 0.9
    assert values(near)["reference_alpha"] == (values(near)["reference_far"] + values(near)["reference_minus"]) / 2
    least = {f.name: f for f in near}["reference_minus"].interval[0]
    assert values(near)["distance_minus"] == pytest.approx(1 - math.sqrt(2 - 2 * least))


def test_a_distance_is_the_least_at_which_draws_are_told_apart_so_often():
    """Two laws that share 1 − d of their mass, the rest of one above that of the other."""
    d = 0.4
    a = (1 - d) ** 2 / 2 + d * (1 - d) + d * (1 - d) + d**2  # common to both; one above, the other below; both
    assert _distance((a, 1.0)) == pytest.approx(d)
    assert _distance((0.0, 1 - a)) == pytest.approx(d)
    assert _distance((0.4, 0.6)) == 0


@pytest.mark.parametrize("n", [1.5, 8, 300])
def test_best_of_n_at_a_divergence_is_found_from_its_n(n):
    assert _same_kl(math.log(n) - (n - 1) / n) == pytest.approx(n, rel=1e-6)


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [
        ([5.0, 6.0], [1.0, 2.0, 3.0, 4.0]),
        ([0.3, 0.9, 0.1, 0.7], [0.2, 0.4, 0.8]),
        ([1.0, 1.0], [0.0] * 10),  # ties: a tenth of its chance by the normal approximation
        ([2.0, 0.0, 1.0, 1.0, 2.0], [1.0, 0.0, 0.0, 0.0]),
        ([1.0, 1.0], [1.0, 1.0, 1.0]),
    ],
)
def test_chance_of_an_area_is_its_share_of_all_choices_of_as_many(chosen, rejected):
    """Listed; not Student's t of the placements, whose spread is 0 where all are told apart."""
    both, own = np.array(chosen + rejected), range(len(chosen))
    area = lambda held: sum(np.sign(both[i] - both[j]) for i in held for j in set(range(both.size)) - set(held))
    areas = [abs(area(held)) for held in itertools.combinations(range(both.size), len(chosen))]
    found = Accuracy.of(np.array(chosen), np.array(rejected), paired=False)
    assert found.by_chance == pytest.approx(np.mean(np.array(areas) >= abs(area(own)) - 1e-9), rel=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_few_and_many_examples_are_tested_alike(ties, monkeypatch):
    rng = np.random.default_rng(3)
    chosen, rejected = rng.normal(0.6, size=12), rng.normal(size=40)
    if ties:
        chosen, rejected = np.rint(chosen), np.rint(rejected)
    by_law = Accuracy.of(chosen, rejected, paired=False).by_chance
    monkeypatch.setattr(accuracy, "FEW", 12)
    assert Accuracy.of(chosen, rejected, paired=False).by_chance == pytest.approx(by_law, rel=0.05)


@pytest.mark.parametrize(("chosen", "rejected"), [(2, 2), (2, 10), (3, 3), (5, 5), (8, 8), (20, 30)])
def test_what_tells_nothing_is_rarely_told_from_chance_however_few_there_are(chosen, rejected):
    """Two of each told apart altogether are one draw in six, with an error of 0."""
    rng, n = np.random.default_rng(chosen), chosen + rejected
    orders = [rng.permutation(n) for _ in range(800)]  # the test is one of ranks
    if math.comb(n, chosen) < len(orders):
        orders = [np.array([*own, *set(range(n)) - {*own}]) for own in itertools.combinations(range(n), chosen)]
    found = [Accuracy.of(x[:chosen], x[chosen:], paired=False).by_chance for x in orders]
    assert np.mean(np.array(found) < 0.01) < 0.016
    if chosen == 2:
        apart = Accuracy.of(np.full(2, 1.0), np.zeros(rejected) + np.arange(rejected) / 99, paired=False)
        assert apart.mean.stderr == 0.0
        assert apart.by_chance > 0.02
    one, other = (Accuracy.of(rng.normal(size=(chosen)), rng.normal(size=rejected), paired=False) for _ in range(2))
    assert 0.0 < difference(one, other)[1] <= 1.0


@pytest.mark.parametrize(("prompts", "rare"), [(20, 2), (20, 3), (50, 3), (10, 8)])
def test_rare_labels_on_shared_prompts_are_told_apart_by_chance_no_more_often_than_is_said(prompts, rare):
    """Of one in 100 it was 3 to 22 where all prompts counted as degrees of freedom, not those of the rarer class."""
    rng, draws, level = np.random.default_rng(0), 400, 0.01
    asked, found = np.repeat(np.arange(prompts), 2), []
    for _ in range(draws):
        chosen = rng.permutation(asked.size) < rare
        scores = rng.normal(size=asked.size)
        right = Accuracy.of(scores[chosen], scores[~chosen], False, (asked[chosen], asked[~chosen]))
        found.append(right.by_chance < level)
    assert np.mean(found) < level + 3.0 * np.sqrt(level * (1.0 - level) / draws)
