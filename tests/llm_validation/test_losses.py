"""Torch losses against theory's float64 values on the same tables, their gradients, weights, and empty classes."""

from __future__ import annotations

import doctest
import inspect

import numpy as np
import pytest
import torch

from llm_validation import losses
from llm_validation.losses.generators import GENERATORS
from llm_validation.losses.table import LOSSES
from theory.density_ratio import losses as density_ratio
from theory.divergences import losses as divergence_losses
from theory.policy.identity import ipo_loss
from theory.proximal import losses as proximal_losses
from theory.proximal.feedback import empirical_scores

A, KL_BETA = 5, 0.7


@pytest.fixture
def tables(rng) -> dict[str, np.ndarray]:
    """A policy and a reference over five responses and off, and two classes of responses."""
    return {
        "policy": np.log(rng.dirichlet(np.ones(A + 1))),
        "reference": np.log(rng.dirichlet(np.ones(A + 1))),
        "p": rng.dirichlet(np.ones(A)),
        "q": rng.dirichlet(np.ones(A)),
    }


def sides(tables) -> list[torch.Tensor]:
    """The four arguments of an unpaired loss, every response once in each class."""
    policy, reference = (torch.tensor(tables[name][:A]) for name in ("policy", "reference"))
    return [policy, policy, reference, reference]


def weights(tables) -> dict[str, torch.Tensor]:
    return {"chosen_weight": torch.tensor(tables["p"]), "rejected_weight": torch.tensor(tables["q"])}


UNPAIRED = {
    "kldo": lambda t: losses.kldo(*sides(t), kl_beta=KL_BETA, **weights(t)),
    "kto": lambda t: losses.kto(*sides(t), kl_beta=KL_BETA, **weights(t)),
    "bco": lambda t: losses.bco(*sides(t), kl_beta=KL_BETA, **weights(t)),
    **{
        name: (lambda t, name=name: losses.fdo(*sides(t), generator=name, kl_beta=KL_BETA, **weights(t)))
        for name in GENERATORS
    },
}


@pytest.mark.parametrize("name", UNPAIRED)
def test_unpaired_losses_are_theory_s(name, tables):
    for stretch in (1.0, 10.0):  # rewards below −2 too, where Pearson's conjugate is constant
        far = {**tables, "policy": stretch * tables["policy"]}
        r = KL_BETA * (far["policy"] - far["reference"])[:A]
        expected = divergence_losses.population_loss(name, r, far["p"], far["q"])
        assert float(UNPAIRED[name](far)) == pytest.approx(expected, rel=1e-10)


def test_every_generator_of_theory_has_its_torch_twin():
    from theory.divergences.generators import GENERATORS as THEIRS

    assert set(THEIRS) | {"hellinger"} == set(GENERATORS)


def test_ddro_and_rdro_are_theory_s(tables):
    lr = (tables["policy"] - tables["reference"])[:A]
    p, q = tables["p"], tables["q"]
    assert float(losses.ddro(*sides(tables), **weights(tables))) == pytest.approx(density_ratio.ddro_loss(lr, p, q))
    mine = losses.rdro(*sides(tables), alpha=0.3, **weights(tables))
    assert float(mine) == pytest.approx(density_ratio.rdro_loss(lr, p, q, 0.3))
    good, bad = torch.tensor(lr[:3]), torch.tensor(lr[:2])
    zero = torch.zeros(3, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    # a batch is a population of its examples: three chosen, two rejected
    of_batch = np.append(lr[:3], lr[:2]), [1 / 3] * 3 + [0.0] * 2, [0.0] * 3 + [0.5] * 2
    for reduction, chosen_fraction in (("class_mean", None), ("pooled", 0.6)):
        mine = losses.rdro(good, bad, *zero, alpha=0.3, reduction=reduction)
        theirs = density_ratio.rdro_loss(*of_batch, 0.3, chosen_fraction)
        assert float(mine) == pytest.approx(theirs, rel=1e-12)
    for some in ({}, weights(tables)):
        with pytest.raises(ValueError, match="reduction = 'sum'"):
            losses.rdro(*(sides(tables) if some else (good, bad, *zero)), reduction="sum", **some)
    for alone in weights(tables).items():
        with pytest.raises(ValueError, match="pooled takes weights of both classes or of none"):
            losses.rdro(*sides(tables), reduction="pooled", **dict([alone]))


def test_dpo_is_the_population_loss(tables):
    wins, loses = torch.where(~torch.eye(A, dtype=torch.bool))
    weight = torch.tensor(np.outer(tables["p"], tables["q"]))[wins, loses]
    policy, reference = sides(tables)[0], sides(tables)[2]
    mine = losses.dpo(policy[wins], policy[loses], reference[wins], reference[loses], kl_beta=KL_BETA, weight=weight)
    r = KL_BETA * (tables["policy"] - tables["reference"])[:A]
    diagonal = float(tables["p"] @ tables["q"]) * np.log(2.0)  # pairs of a response with itself
    assert float(mine) + diagonal == pytest.approx(
        divergence_losses.population_loss("dpo", r, tables["p"], tables["q"]), rel=1e-12
    )
    at_start = losses.dpo(reference[:2], reference[2:4], reference[:2], reference[2:4])
    assert float(at_start) == pytest.approx(np.log(2.0))


def test_ipo_is_the_population_loss(tables):
    wins, loses = torch.where(~torch.eye(A, dtype=torch.bool))
    pairs = np.outer(tables["p"], tables["p"])
    off = pairs * (1 - np.eye(A))
    P = 0.5 + 0.4 * np.sign(np.subtract.outer(np.arange(A), np.arange(A)))
    weight = torch.tensor(2.0 * off * P / off.sum())[wins, loses]
    policy, reference = sides(tables)[0], sides(tables)[2]
    mine = losses.ipo(policy[wins], policy[loses], reference[wins], reference[loses], kl_beta=KL_BETA, weight=weight)
    lr = (tables["policy"] - tables["reference"])[:A]
    assert float(mine) == pytest.approx(ipo_loss(lr, P, pairs / pairs.sum(), KL_BETA), rel=1e-12)


def test_pro_on_one_pair_is_edpo_with_a_hyper_response(tables):
    policy, reference = tables["policy"], tables["reference"]
    merged = [np.append(x[:2], np.logaddexp.reduce(x[2:])) for x in (policy, reference)]
    scores, empirical = empirical_scores(3, [(0, 1)])
    expected = proximal_losses.edpo_loss(
        np.exp(merged[0]), None, scores, empirical, np.full(3, 1 / 3), 2.25, KL_BETA, log_reference=merged[1]
    )
    constant = KL_BETA * float((scores * empirical) @ merged[1])  # log π against log(π/π_ref) in the linear term
    one, two, ref_one, ref_two = (torch.tensor([x[i]]) for x in (policy, reference) for i in (0, 1))
    for extra in ({}, {"policy_hyper": torch.tensor([merged[0][2]]), "reference_hyper": torch.tensor([merged[1][2]])}):
        mine = losses.pro_pairwise(one, two, ref_one, ref_two, kl_beta=KL_BETA, alpha=2.25, **extra)
        assert float(mine) == pytest.approx(expected + constant, rel=1e-9)


def test_every_prompt_of_pro_on_scores_may_have_constants_of_its_own(tables):
    policy, reference = (torch.tensor(tables[name])[:3].expand(2, 3) for name in ("policy", "reference"))
    policy = policy * torch.tensor([[1.0], [2.0]])
    scores, mu = torch.tensor([[0.5, -0.3, 0.1]] * 2).double(), torch.tensor([[0.2, 0.5, 0.3]] * 2).double()
    betas, alphas = torch.tensor([0.05, 0.4]).double(), torch.tensor([1.5, 4.0]).double()
    for loss, given in ((losses.pro_scalar, (scores,)), (losses.pro, (scores, mu))):
        rows = [[side[p : p + 1] for side in (policy, reference, *given)] for p in range(2)]
        alone = [loss(*row, kl_beta=float(b), alpha=float(a)) for row, b, a in zip(rows, betas, alphas, strict=True)]
        for alpha in (alphas, alphas[:, None]):
            together = loss(policy, reference, *given, kl_beta=betas[:, None], alpha=alpha)
            assert float(together) == pytest.approx(float(sum(alone)) / 2, rel=1e-12)


def test_pro_binary_scalar_and_tables_agree(tables):
    policy, reference = (torch.tensor(tables[name]) for name in ("policy", "reference"))
    s = torch.tensor([0.4], dtype=torch.float64)
    binary = losses.pro_binary(policy[:1], reference[:1], s, kl_beta=KL_BETA, alpha=2.5)
    scalar = losses.pro_scalar(policy[None, :1], reference[None, :1], s[None], kl_beta=KL_BETA, alpha=2.5)
    assert float(binary) == pytest.approx(float(scalar), rel=1e-12)
    scores = torch.tensor([[0.5, -0.3, 0.1]], dtype=torch.float64)
    scalar = losses.pro_scalar(policy[None, :3], reference[None, :3], scores, kl_beta=KL_BETA, alpha=2.5)
    merged = [torch.cat([x[:3], torch.logsumexp(x[3:], 0)[None]])[None] for x in (policy, reference)]
    signal = torch.cat([scores, -scores.sum(1, keepdim=True)], 1) / 3
    table = losses.pro(
        *merged, signal, torch.full((1, 4), 0.25, dtype=torch.float64), kl_beta=KL_BETA, alpha=2 * 4 / 3 * 2.5
    )
    assert float(scalar) == pytest.approx(float(table), rel=1e-9)
    zero = losses.pro_binary(policy[:1], reference[:1], s, kl_beta=KL_BETA, alpha=2.5, hyper="zero")
    r = KL_BETA * float(policy[0] - reference[0])
    assert float(zero) == pytest.approx(-0.4 * r + 2.5 * np.log(np.cosh(r / 2)), rel=1e-10)


PAIRS = {
    "ipo": lambda x, y, a, b: losses.ipo(x, y, a, b, kl_beta=KL_BETA),
    "dpo": lambda x, y, a, b: losses.dpo(x, y, a, b, kl_beta=KL_BETA),
    "pro_pairwise": lambda x, y, a, b: losses.pro_pairwise(x, y, a, b, kl_beta=KL_BETA),
    "pro_binary": lambda x, y, a, b: losses.pro_binary(x, a, torch.full_like(x, 0.5), kl_beta=KL_BETA),
    "pro_scalar": lambda x, y, a, b: losses.pro_scalar(
        torch.stack([x, y], 1), torch.stack([a, b], 1), torch.tensor([[0.5, -0.2]] * 3, dtype=x.dtype), kl_beta=KL_BETA
    ),
    "kto": lambda x, y, a, b: losses.kto(x, y, a, b, kl_beta=KL_BETA, chosen_shift=0.2, rejected_shift=0.2),
    "bco": lambda x, y, a, b: losses.bco(x, y, a, b, kl_beta=KL_BETA, chosen_shift=0.1),
    "kldo": lambda x, y, a, b: losses.kldo(x, y, a, b, kl_beta=KL_BETA),
    "fdo": lambda x, y, a, b: losses.fdo(x, y, a, b, generator="pearson", kl_beta=KL_BETA),
    "ddro": lambda x, y, a, b: losses.ddro(x, y, a, b),
    "rdro": lambda x, y, a, b: losses.rdro(x, y, a, b, alpha=0.3),
}


@pytest.mark.parametrize(
    "module", [losses.pairs, losses.unpaired, losses.density_ratio], ids=lambda module: module.__name__
)
def test_every_loss_has_an_example_that_runs(module):
    found = doctest.testmod(module)
    public = [name for name in losses.__all__ if getattr(getattr(losses, name), "__module__", "") == module.__name__]
    assert found.failed == 0
    assert all("Examples" in getattr(losses, name).__doc__ for name in public)
    assert len(public) == {"pairs": 6, "unpaired": 5, "density_ratio": 2}[module.__name__.split(".")[-1]]


@pytest.mark.parametrize(
    ("name", "term"), [("kto", lambda x: 1 / (1 + np.exp(x))), ("bco", lambda x: np.log1p(np.exp(-x)))]
)
def test_each_class_has_its_own_shift(name, term):
    """E₊[term(r − chosen shift)] + E₋[term(rejected shift − r)], by hand."""
    args = [torch.tensor([x], dtype=torch.float64) for x in (0.7, -0.4, 0.2, 0.1)]
    mine = getattr(losses, name)(*args, kl_beta=2.0, chosen_shift=0.3, rejected_shift=-1.1)
    assert float(mine) == pytest.approx(term(2 * 0.5 - 0.3) + term(-1.1 - 2 * -0.5), rel=1e-12)


def test_z0_is_never_negative_and_has_no_gradient():
    for ratios, expected in (([1.0, 3.0], 0.5 * 2.0), ([-3.0, 1.0], 0.0)):
        x = torch.tensor(ratios, requires_grad=True)
        shift = losses.kto_reference_point(x, 0.5)
        assert float(shift) == expected
        assert not shift.requires_grad


def test_the_table_is_complete():
    assert set(PAIRS) == set(LOSSES)
    for name, entry in LOSSES.items():
        assert entry.function is getattr(losses, name)
        assert entry.source
        assert entry.reduction


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_finite_differences(name):
    torch.manual_seed(0)
    policy = torch.log(torch.tensor([[0.2, 0.1], [0.05, 0.3], [0.15, 0.25]], dtype=torch.float64))
    reference = torch.log(torch.tensor([[0.1, 0.2], [0.2, 0.2], [0.3, 0.1]], dtype=torch.float64))
    values = [policy[:, 0].clone().requires_grad_(), policy[:, 1].clone().requires_grad_()]
    assert torch.autograd.gradcheck(
        lambda x, y: PAIRS.get(name, LOSSES[name].function)(x, y, reference[:, 0], reference[:, 1]),
        values,
        eps=1e-6,
        atol=1e-7,
    )


@pytest.mark.parametrize("name", LOSSES)
def test_an_absent_class_is_an_error(name):
    none, some = torch.empty(0), torch.zeros(2)
    arguments = {"pairs": [none] * 4, "binary": [none] * 3, "scalar": [torch.empty(0, 2)] * 3}
    arguments["unpaired"] = [none, some, none, some]
    with pytest.raises(ValueError, match="the batch has no"):
        LOSSES[name].function(*arguments[LOSSES[name].feedback])


def test_kldo_per_prompt_is_a_mean_of_single_prompts(tables):
    one = losses.kldo(*sides(tables), kl_beta=KL_BETA, **weights(tables))
    flipped = {**tables, "p": tables["q"], "q": tables["p"]}
    two = losses.kldo(*sides(flipped), kl_beta=KL_BETA, **weights(flipped))
    both = [torch.cat([a, b]) for a, b in zip(sides(tables), sides(flipped), strict=True)]
    prompt = torch.arange(2).repeat_interleave(A)
    together = losses.kldo(
        *both,
        kl_beta=KL_BETA,
        chosen_weight=torch.tensor(np.append(tables["p"], tables["q"]) / 2),
        rejected_weight=torch.tensor(np.append(tables["q"], tables["p"]) / 2),
        chosen_prompt=prompt,
        rejected_prompt=prompt,
    )
    assert float(together) == pytest.approx(float(one + two) / 2, rel=1e-12)
    with pytest.raises(ValueError, match="prompt 1 has chosen but no rejected"):
        losses.kldo(*both, chosen_prompt=prompt, rejected_prompt=torch.zeros(2 * A, dtype=torch.long))
    # classes of unlike size: a prompt's weight is its share of the chosen ones
    few = [both[0][:4], both[1], both[2][:4], both[3]]
    counted = losses.kldo(*few, chosen_prompt=torch.tensor([0, 1, 1, 1]), rejected_prompt=prompt).item()
    rewards = (0.1 * (few[1] - few[3])).view(2, A)
    log_means = torch.logsumexp(rewards, 1) - np.log(A)
    chosen = 0.1 * (few[0] - few[2]).mean()
    assert counted == pytest.approx(float(-chosen + log_means @ torch.tensor([0.25, 0.75]).double()), rel=1e-12)
    massless = torch.cat([torch.ones(A), torch.zeros(A)]).double() / A
    with pytest.raises(ValueError, match="prompt 1 has chosen but no rejected"):
        losses.kldo(*both, chosen_prompt=prompt, rejected_prompt=prompt, rejected_weight=massless)
    x = both[1].clone().requires_grad_()
    first = losses.kldo(
        both[0][:A], x, both[2][:A], both[3], chosen_prompt=prompt[:A], rejected_prompt=prompt, rejected_weight=massless
    )
    (slopes,) = torch.autograd.grad(first, x)
    assert first.item() == pytest.approx(float(losses.kldo(*(side[:A] for side in both))), rel=1e-12)
    assert slopes[:A].gt(0).all()
    assert not slopes[A:].any()
    for part in ({"chosen_prompt": prompt}, {"rejected_prompt": prompt}, {"moving_mean": torch.ones(2)}):
        with pytest.raises(ValueError, match="need chosen_prompt and rejected_prompt"):
            losses.kldo(*both, **part)


def test_the_moving_mean_has_kldo_s_gradient_when_it_is_exact(tables):
    args = sides(tables)
    prompt = torch.zeros(A, dtype=torch.long)
    r = KL_BETA * (args[1] - args[3])
    exact = (weights(tables)["rejected_weight"] * r.exp()).sum()[None]
    gradients = []
    for moving in (None, exact):
        x = args[1].clone().requires_grad_()
        loss = losses.kldo(
            args[0], x, args[2], args[3], kl_beta=KL_BETA, chosen_prompt=prompt, rejected_prompt=prompt,
            moving_mean=moving, **weights(tables),
        )  # fmt: skip
        gradients.append(torch.autograd.grad(loss, x)[0])
    torch.testing.assert_close(*gradients, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("chosen", "rejected", "sign"), [(1.0, 0.5, 1), (-1.0, 0.5, -1), (-1.0, -0.5, 1)])
def test_the_official_normaliser_changes_sign(chosen, rejected, sign):
    x = torch.tensor([rejected], dtype=torch.float64, requires_grad=True)
    zero = torch.zeros(1, dtype=torch.float64)
    loss = losses.kldo(torch.tensor([chosen], dtype=torch.float64), x, zero, zero, kl_beta=1.0, normalize=True)
    (gradient,) = torch.autograd.grad(loss, x)
    assert float(torch.sign(gradient)) == sign


def test_log1mexp_keeps_its_digits():
    x = torch.tensor([-1e-12, -1e-3, -0.6931, -0.7, -50.0], dtype=torch.float64, requires_grad=True)
    values = losses.parts.log1mexp(x)
    expected = [
        np.log(1e-12),
        np.log(-np.expm1(-1e-3)),
        np.log(-np.expm1(-0.6931)),
        np.log(1 - np.exp(-0.7)),
        -np.exp(-50.0),
    ]
    assert values.detach().numpy() == pytest.approx(expected, rel=1e-9)
    assert torch.isfinite(torch.autograd.grad(values.sum(), x)[0]).all()


def sides_of(name: str) -> int:
    """How many log-probabilities a loss takes: the parameters without a default."""
    taken = inspect.signature(LOSSES[name].function).parameters.values()
    return sum(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in taken)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda x: x[:, None], r"\(3, 1"),
        (lambda x: x.to(torch.complex128), "must be a tensor of real floating-point numbers"),
        (lambda x: x.to(torch.long), "must be a tensor of real floating-point numbers"),
        (lambda x: x.tolist(), "must be a tensor of real floating-point numbers"),
        (lambda x: np.ma.masked_less(x.numpy(), -1.5), "got MaskedArray"),
    ],
)
def test_what_would_be_broadcast_or_lose_a_part_is_refused(name, spoil, said):
    """In each place: a column for a row, complex numbers, integers, a list, a mask."""
    good = [-torch.linspace(1.0, 2.0, 3, dtype=torch.float64) for _ in range(sides_of(name))]
    for place in range(len(good)):
        if name == "pro_scalar":
            good = [torch.stack([-torch.ones(3), -2 * torch.ones(3)], 1) for _ in range(3)]
        spoilt = [spoil(x) if i == place else x for i, x in enumerate(good)]
        with pytest.raises(ValueError, match=said):
            LOSSES[name].function(*spoilt)


def test_weights_that_would_be_broadcast_are_refused(tables):
    for name, side in (("kto", "chosen"), ("kldo", "chosen"), ("kldo", "rejected")):
        with pytest.raises(ValueError, match=rf"weight of shape \(5, 1\) for {side} of shape \(5,\)"):
            LOSSES[name].function(*sides(tables), **{f"{side}_weight": torch.ones(A, 1)})
