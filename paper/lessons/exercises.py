"""What the exercises ask for: sealed numbers with the mistakes that are often made, and properties of objects."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from paper.lessons.answers import Number, Property, check_in
from simulate.judge import judge
from simulate.rows.reach import ROOT
from simulate.rows.store import read_rows
from theory.best_of_n.order_statistics import expected_max
from theory.bradley_terry import Population
from theory.claim import Claim, equal, grid, parse_setting
from theory.distortion.measure import distortion
from theory.social_choice.pairwise import borda


def _population_that_borda_fails(answer: Any) -> str | None:
    if not isinstance(answer, Population):
        return f"a Population is asked for, got {type(answer).__name__}"
    if len(answer.utilities) != 3:
        return f"three types are asked for, got {len(answer.utilities)}"
    if answer.utilities.max() > 1.0:
        return "utilities are at most 1"
    reached = distortion(answer, borda(answer.win_rates(5.0)))
    return None if reached > 2.0 else f"Borda has distortion {reached:.3f} on it, not yet above 2"


def _dpo_of_a_pair(answer: Any) -> str | None:
    if not callable(answer):
        return "a function of delta is asked for"
    for delta in (-3.0, 0.0, 0.7, 20.0):
        value, right = float(answer(delta)), math.log1p(math.exp(-abs(delta))) + max(-delta, 0.0)
        if not abs(value - right) <= 1e-9:  # NaN is not right either
            if abs(value - (right - math.log(2.0))) < 1e-9:
                return "right up to a constant: the loss at 0 is log 2"
            if abs(value - (right + delta)) < 1e-9:
                return "the sign of the linear term is the loser's"
            return f"at delta = {delta:g} it gives {value:.6f}, and −log σ(delta) is {right:.6f}"
    return None


def _pearson_loss(answer: Any) -> str | None:
    if not callable(answer):
        return "a function of the rewards r (3,) is asked for"
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.3, 0.5])
    best = 2.0 * (p / q - 1.0)  # f'(p/q)
    value, chi_square = float(answer(best)), float(np.sum(q * (p / q - 1.0) ** 2))
    if abs(value - chi_square) < 1e-9:
        return "the sign: a loss is minimised"
    if not abs(value + chi_square) <= 1e-9:
        return f"at r = f'(p/q) it gives {value:.6f}, not −χ² = {-chi_square:.6f}"
    worse = min(float(answer(best + step * np.eye(3)[y])) for step in (-0.1, 0.1) for y in range(3))
    return None if worse > value else "it is not least at r = f'(p/q)"


def _claim_on_the_best(answer: Any) -> str | None:
    if not isinstance(answer, Claim):
        return f"a Claim is asked for, got {type(answer).__name__}"
    names = [check.name for check in answer.checks]
    if names != ["best"]:
        return f"one check named 'best' is asked for, got {names}"
    (best,) = answer.checks
    if best.kind != "equality":
        return f"an equality is asked for, got one of kind {best.kind!r}"
    if best.tolerance(1.0) > 0.05:
        return "a resolution of at most 0.05 is asked for: a claim that cannot fail says nothing"
    if {setting["n"] for setting in best.settings} != {4, 64}:
        return "n = 4 and n = 64 are asked for"
    off = [
        setting["n"] for setting in best.settings
        if not abs(best.predict(setting) - expected_max(float(setting["n"]))) <= 0.02
    ]  # fmt: skip
    return f"its prediction at n = {off[0]} is wrong" if off else None


def _noisy_experiment(answer: Any) -> str | None:
    if not callable(answer):
        return "a function noisy(n, *, rng, profile) is asked for"
    best = equal("best", "mean of the largest", expected_max, at=grid(n=64), within=0.05, because="an exercise")
    claim = Claim("S1", "The best of N", (), "", "ours", "equality", "lesson", (best,))
    verdicts = []
    for seed in range(20):
        try:
            (row,) = judge(claim, {"best": answer}, seed=seed)
        except TypeError as error:
            return str(error)
        if row.estimate.n < 2:
            return "an Estimate of a mean is asked for, with its standard error"
        verdicts.append(row.verdict)
    common = max(set(verdicts), key=verdicts.count)
    return None if common == "inconclusive" else f"with 20 seeds the verdict is mostly {common!r}"


def _recorded_ends() -> dict[str, float]:
    """Response → log π/π_ref at the last recorded step of DPO on SmolLM2, one pair per prompt."""
    ends: dict[str, tuple[int, float]] = {}
    for row in read_rows(ROOT / "llm_validation" / "results" / "reference-smollm2"):
        if (row.claim, row.check, row.seed) == ("P5", "real_path", 0):
            at = parse_setting(row.setting)
            if at["pairs"] == "one pair":
                name, step = str(at["response"]), int(at["step"])
                ends[name] = max(ends.get(name, (-1, 0.0)), (step, row.estimate))
    return {name: value for name, (_, value) in ends.items()}


def _gap_under_dpo(answer: Any) -> str | None:
    ends = _recorded_ends()
    right = ends["chosen"] - ends["rejected"]
    try:
        value = float(answer)
    except (TypeError, ValueError):
        return f"a number is asked for, got {type(answer).__name__}"
    if abs(value - right) <= 0.01 * abs(right):
        return None
    return "the sign: chosen minus rejected" if abs(value + right) <= 0.01 * abs(right) else "not the last step's gap"


def _margin_of_the_loss(answer: Any) -> str | None:
    place = ("P5", "real_loss", "pairs=one pair", 0)
    recorded = read_rows(ROOT / "llm_validation" / "results" / "reference-smollm2")
    (loss,) = (row.estimate for row in recorded if (row.claim, row.check, row.setting, row.seed) == place)
    right = -math.log(math.expm1(loss))
    try:
        value = float(answer)
    except (TypeError, ValueError):
        return f"a number is asked for, got {type(answer).__name__}"
    if abs(value - right) <= 0.002 * right:
        return None
    return (
        "that is the loss; solve −log σ(Δ) for Δ" if abs(value - loss) <= 0.01 * loss else "not yet: −log σ(Δ) = loss"
    )


def _moved_most(answer: Any) -> str | None:
    ends = {name: value for name, value in _recorded_ends().items() if name not in ("chosen", "rejected")}
    name, value = max(ends.items(), key=lambda item: abs(item[1]))
    if not isinstance(answer, tuple) or len(answer) != 2:
        return "a name and a number are asked for"
    if answer[0] != name:
        return f"{answer[0]!r} did not move most"
    return None if abs(float(answer[1]) - value) <= 0.01 * abs(value) else "right name, another number"


EXERCISES: dict[str, Number | Property] = {
    "1.1": Number(6, "613fac90e75d2b60", {
        "3b01c984e08d2952": "that is its asymptote β/2, not L(10)",
        "249d2b271a803665": "the fraction is upside down",
        "4e288376f3f68164": "twice too much: β/2, not β",
    }),
    "1.2": Property(_population_that_borda_fails),
    "1.3": Number(2, "8a289cb14d491e54", {
        "09df9925998df64e": "right idea, but the factor ½ in front is missing",
        "aabcee589e4dc6f8": "L is not bounded: its slope does not vanish",
    }),
    "2.1": Number(6, "0d8fd531d4b82274", {
        "fd851a8f1c0c0630": "that is L(10), which no rule beats; Borda does not reach it",
        "f792f8962fa66def": "that is the upper bound 2L",
        "40dc9711bbc2df88": "that is the value on I5 at a finite ε; the bound is its limit",
    }),
    "2.2": Number(4, "95912acc21f41625", {
        "244b623293038cb1": "that is log(β+1)/β, the paper's choice; the optimal one is a little larger",
    }),
    "2.3": Number(2, "cafcd93084daa669", {"f9cb172f566d7eb4": "look at larger β: it grows"}),
    "3.1": Number(4, "d59d65c6de39e80f", {"ddfc806cd48dda86": "almost"}),
    "3.2": Number(4, "f6abcae764b3b36e", {
        "ade1d6b4233db531": "that is the distortion in the ball; the trap is to leave it out",
    }),
    "3.3": Number(2, "aa6ad8a47018fd14", {"bcedd82ebc33dc3a": "too steep: it is a root"}),
    "4.1": Number(5, "5dd762eb855ab955", {"799566d90acf4e94": "that is for a policy that always gives one answer"}),
    "4.2": Number(5, "27f2f903d4ab9954", {"dcf1ee2d4f23e362": "that is for the uniform policy"}),
    "4.3": Number(3, "7159c57627c0ffc9", {
        "6e8bd1f3d3f77d7d": "the policy never gives either of the two answers of that pair",
        "7ee3bae31036aa48": "close: compare the two upper ends",
    }),
    "5.1": Number(3, "c46320bae2b83de2", {"d49017a55e48ce9d": "right, upside down"}),
    "5.2": Number(3, "a6ca90cd44f030c6", {
        "454766074db96319": "that is the average of two one-pair losses; the table is shared",
        "c830193498696a81": "that is the score; the signal is μ̂ times it",
    }),
    "5.3": Property(_dpo_of_a_pair),
    "6.1": Number(3, "ee44e1549fcbeb45", {
        "210cd31ed1b199bc": "one of these shifts is that of all rewards, which normalisation takes away",
        "8dae15b28e565169": "count connected components, not comparisons",
    }),
    "6.2": Number(6, "a7dc9785062a5299", {"d9e0bb99d0145960": "that is winner above loser; H lies in the middle"}),
    "6.3": Number(4, "d28ffba4f4d466a1", {
        "002a262f6f709dd0": "that is in units of r; divide by kl_beta",
        "859e53a786c611de": "the wrong way: divide by kl_beta",
    }),
    "7.1": Number(7, "a346584e29f4adbd", {
        "aef07536fd296e57": "that is for even weights, η = 2/3",
        "86ab022047dc980e": "1/η is not enough: the other side counts too",
    }),
    "7.2": Number(7, "6e0f00d337c0babd", {
        "6e4b5a93deab4394": "two digits short",
        "da7aef45fe68dc33": "that is the score of a positive; the threshold is twice as much",
    }),
    "7.3": Number(4, "dfd70c2abd686866", {
        "1579896592e10884": "that is the probability; r is its logit",
        "75ebb44a86eac342": "that is s/α; add ½ and take the logit",
    }),
    "8.1": Number(6, "db934b6d288ceaa7", {"e6205d760925c213": "the sign: a loss, not a divergence"}),
    "8.2": Number(4, "9f158c05142e6294", {"9eafc6403a20797b": "right numbers, wrong order"}),
    "8.3": Property(_pearson_loss),
    "9.1": Number(3, "a45e53be9e1fa8a4", {
        "8e9a6fffb717dd0f": "B must be above B*",
        "88845548500589f0": "a whole number is asked for",
    }),
    "9.2": Number(3, "f9e8708d88cb68d9", {
        "6845a89e1e311269": "that is the range of log R, where KLDO should lead and does not",
    }),
    "9.3": Number(3, "fcd0a25b0b33bd4d", {
        "4975ebc101a15cbc": "the sign: it is the point",
        "6e2bc4085e778875": "the minimum is A here",
    }),
    "10.1": Number(4, "343cf1fc55b680b2", {
        "b9cba4b78d78479f": "that is the ratio; its logarithm is asked for",
        "402fed772930c8a5": "α itself is no log-ratio",
    }),
    "10.2": Number(4, "d0b8361d08671dc0", {
        "99cbace1e24f9403": "p⁺α, not yet divided by 1 + α",
        "47b3826033598a89": "that is p⁺",
    }),
    "10.3": Number(4, "b6db41e1f544225e", {
        "ca47d34802ab0060": "that is α as it was set; pooling changes it",
        "1165d1a268dcb181": "the other class",
    }),
    "10.4": Number(2, "438861b36ea0e2b0", {
        "32c1b4041be567a3": "one more: the ratio's derivative and the count both blow up",
        "079bbdcba4deb791": "the sign",
        "717ef6ebfcb31397": "two more",
    }),
    "11.1": Number(4, "321e9034fc67df37", {
        "188625385af60beb": "that is the floor of SFT, H(C)",
        "42cacb14194174e0": "that is the floor of the Aligner, H(C|O)",
        "376c0c62b666bd06": "right in bits; nats are asked for",
    }),
    "11.2": Number(5, "29f6914b6dbfc423", {
        "e7728d9b370e6a76": "right numbers, wrong order",
        "3eab19fe6c706fe5": "KL: log N, minus (N−1)/N",
    }),
    "11.3": Number(2, "b6ab58b5321701df", {"40acfc4366bfdb90": "that is the share of bad answers"}),
    "11.4": Number(3, "491d2b9f55e0c934", {
        "a8af175c26414edb": "that compares with Best-of-64; compare with the Best-of-N of the same reward",
    }),
    "12.1": Property(_claim_on_the_best),
    "12.2": Property(_noisy_experiment),
    "12.3": Number(2, "b707ee40eeaeb7c4", {
        "2399ddc77d0f6610": "both sides count",
        "8a101391c4d2c04e": "that is at two standard errors",
    }),
    "13.1": Number(4, "5cce97b13fb975e1", {
        "a46bed8d934de049": "that is chosen above everything else; rejected lies as far below",
    }),
    "13.2": Property(_gap_under_dpo),
    "13.3": Property(_margin_of_the_loss),
    "13.4": Property(_moved_most),
}  # fmt: skip


def check(exercise: str, answer: Any) -> str:
    """Mark an answer to an exercise.

    Parameters
    ----------
    exercise : str
        Its number, lesson.exercise.
    answer : object
        What the exercise asks for; `...` is no answer yet.

    Returns
    -------
    str
        That it is right.

    Raises
    ------
    NotYet
        It is not, or there is none yet; the message says what kind of mistake it is.
    KeyError
        No such exercise.

    Examples
    --------
    >>> from paper.lessons import check
    >>> check("1.3", 0.5)
    'exercise 1.3: right'
    """
    return check_in(EXERCISES, exercise, answer)
