"""The conformance suite finds a planted fault of each kind in losses written out here, and none in ours."""

from __future__ import annotations

import functools
import math
import sys
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import softplus

from llm_validation import conformance
from llm_validation.commands.conform import conform_main
from llm_validation.conformance import check_loss
from llm_validation.losses.table import LOSSES


@pytest.fixture(scope="module", autouse=True)
def ours_once():
    """What ours is with changes, on the batches, does not depend on whose loss is judged: it is computed once."""
    values, found = conformance._values, {}
    cases = functools.cache(conformance.cases)
    changes, of_loss = conformance.changes_of, {}

    def changes_of(ours, tokens):
        return of_loss.setdefault((str(ours), tokens), changes(ours, tokens))

    def once(ours, case, changes, swapped):
        if case not in cases(ours.name, ours.mismatched):
            return values(ours, case, changes, swapped)
        key = str(ours), case, changes, swapped
        if key not in found:
            found[key] = values(ours, case, changes, swapped)
        return found[key]

    with pytest.MonkeyPatch.context() as patch:
        for name, remembered in (("cases", cases), ("changes_of", changes_of), ("_values", once)):
            patch.setattr(conformance, name, remembered)
        yield


BETA = {name: 1.0 if name in ("ddro", "rdro") else 0.1 for name in LOSSES}
PAIRED = ("dpo", "ipo", "pro_pairwise", "pro_binary", "pro_scalar")


def klb(x):
    return softplus(x) - x / 2 - math.log(2)


def terms(name, c, d, rest):
    """One number a pair, or one a chosen and one a rejected example, from rewards; `rest` is r(H) where PRO has one."""
    if name in PAIRED:
        if name == "pro_binary":
            return ((-0.5 * (c - rest[0]) + 2.5 * klb(c - rest[0]) + 0.5 * (d - rest[1]) + 2.5 * klb(d - rest[1])) / 2,)
        h = rest[0] if rest else 0.0
        three = klb(c - d) + klb(c - h) + klb(d - h)
        return {"dpo": (softplus(d - c),), "ipo": (((c - d - 0.5) / BETA["ipo"]) ** 2,),
                "pro_pairwise": ((d - c) / 8 + 2.25 / 9 * three,),
                "pro_scalar": ((d - c) / 4 + 2.5 / 3 * three,)}[name]  # fmt: skip
    both = {
        "kto": (torch.sigmoid(-c), torch.sigmoid(d)),
        "bco": (softplus(-c), softplus(d)),
        "kldo": (-c, d),
        "fdo": (-c, torch.exp(d - 1)),
        "ddro": (softplus(-c), softplus(d)),
        "rdro": (1.5 * softplus(c) - c, 0.5 * softplus(d)),
    }
    return both[name]


def rest_of(name, log_pi, log_ref, beta, zero=False):
    """r(H) by the definition, 1 − the mass of what is labelled."""
    if not name.startswith("pro_"):
        return ()
    left = lambda logs: torch.log(1 - sum(torch.exp(x) for x in logs))
    groups = [(0,), (1,)] if name == "pro_binary" else [(0, 1)]
    rest = tuple(beta * (left([log_pi[i] for i in g]) - left([log_ref[i] for i in g])) for g in groups)
    return tuple(0 * x for x in rest) if zero else rest


def planted(name, fault, pc, pr, rc, rr, nc, nr):
    """The loss with one fault, from its formula."""
    beta, reference = BETA[name], (rc, rr)
    if fault == "tokens":
        pc, pr, rc, rr = pc / nc, pr / nr, rc / nc, rr / nr
        reference = rc, rr
    beta = {"beta out": 1.0, "beta": 0.37}.get(fault, beta)
    rest = rest_of(name, (pc, pr), reference, beta, fault == "hyper")
    rest = tuple(x.detach() for x in rest) if fault == "hyper detached" else rest
    rc, rr = {"chosen reference": (0 * rc, rr), "rejected reference": (rc, 0 * rr), "no reference": (0 * rc, 0 * rr),
              "swapped references": (rr, rc), "added": (-rc, -rr)}.get(fault, (rc, rr))  # fmt: skip
    c, d = beta * (pc - rc), beta * (pr - rr)
    c = c.detach() if fault == "chosen detached" else c
    d = d.detach() if fault == "rejected detached" else d
    if fault == "clamp":
        c, d = (torch.clamp(x, -7 * beta, 7 * beta) for x in (c, d))
    if fault == "offset":
        c, d = (c - 0.3, d - 0.3 if name not in PAIRED else d)
    parts = terms(name, c, d, rest)
    if fault in ("smoothing", "robust"):
        other = terms(name, d, c, rest[::-1])
        swap = other if name in PAIRED else terms(name, d, c, rest)
        own, swapped = reduced(name, parts, ""), reduced(name, swap, "")
        return 0.9 * own + 0.1 * swapped if fault == "smoothing" else (0.9 * own - 0.1 * swapped) / 0.8
    loss = reduced(name, parts, fault)
    if fault.startswith("likely"):
        means = {"likely": lambda: pc.mean(), "likely tokens": lambda: pc.sum() / nc.sum()}
        loss = loss - 0.3 * means.get(fault, lambda: (pc / nc).mean())()
    return {"sign": -loss, "constant": loss + 0.5, "half": loss / 2, "beta out": BETA[name] * loss}.get(fault, loss)


def reduced(name, parts, fault):
    if len(parts) == 1:
        # PRO-B's batch are responses, two a pair
        return parts[0].sum() * (1 + (name == "pro_binary")) if fault == "sum" else parts[0].mean()
    first, second = parts
    second = 1.33 * second if fault in ("weights", "pooled weights") else second
    size = len(first) + len(second)
    one, two = {"sum": (first.sum(), second.sum()), "pooled": (first.sum() / size, second.sum() / size)}.get(
        fault.removesuffix(" weights"), (first.mean(), second.mean())
    )
    return one + (torch.logsumexp(second, 0) - math.log(len(second)) if name == "kldo" else two)


#: fault → words of the sentence that must name it.
FAULTS = {
    "sum": "sum", "tokens": "means over tokens", "beta out": "multiplied by kl_beta", "beta": "kl_beta is 0.37",
    "sign": "the sign of the loss is wrong", "chosen detached": "through chosen (detached)",
    "rejected detached": "through rejected (detached)", "clamp": "log-ratio of +7 nats of chosen",
    "no reference": "there is no reference", "chosen reference": "reference of chosen is missing",
    "rejected reference": "reference of rejected is missing", "swapped references": "references of chosen and rejected",
    "added": "added", "pooled": "pooled", "smoothing": "labels are smoothed, by 0.1",
    "robust": "labels are smoothed, and the bias taken out again, by 0.1",
    "offset": "offset of 0.3", "constant": "plus the constant 0.5", "half": "0.5 times ours",
    "weights": "rejected weigh 1.33 times", "pooled weights": "rejected weigh 1.33 times",
    "likely": "0.3 times −log π of chosen, a mean over examples", "likely tokens": "chosen, a mean over tokens",
    "likely lengths": "chosen, a mean over examples of means over tokens", "hyper": "is 0; ours is exact",
    "hyper detached": "through r(H)",
}  # fmt: skip


def applies(name, fault):
    """Not where a fault is no fault: KLDO is blind to offsets, PRO has no reward without its reference's mass …

    Of IPO kl_beta is but where the square has its least value, so that an offset is another kl_beta.
    """
    pro = name.startswith("pro_")
    return {
        "swapped references": name in PAIRED,
        "pooled": name not in (*PAIRED, "kldo"),
        "weights": name not in (*PAIRED, "kldo"),
        "pooled weights": name == "kto",
        "likely tokens": name == "dpo",
        "likely lengths": name == "kldo",
        "hyper": pro,
        "hyper detached": pro,
        "beta out": BETA[name] != 1.0 and name != "ipo",
        "beta": name != "ipo",
        "offset": name not in ("kldo", "ipo") and not pro,
        "tokens": not pro,
        "no reference": not pro,
        "chosen detached": not pro,
        "rejected detached": not pro,
        "clamp": not pro,
        "sum": name != "kldo",
    }.get(fault, True)


@pytest.mark.parametrize("name", LOSSES)
def test_no_difference_in_ours_nor_in_the_formula(name):
    assert check_loss(functools.partial(planted, name, ""), name, tokens=True) == []


@pytest.mark.parametrize(("name", "fault"), [(n, f) for n in LOSSES for f in FAULTS if applies(n, f)])
def test_a_planted_fault_is_named(name, fault):
    said = check_loss(functools.partial(planted, name, fault), name, tokens=True)
    assert any(FAULTS[fault] in sentence for sentence in said), said
    assert len(said) <= {"clamp": 4, "beta out": 2, "pooled weights": 2}.get(fault, 1), said


@pytest.mark.parametrize(("narrow", "word"), [
    (lambda x: x.to(torch.bfloat16), "bfloat16, in which −100 nats are known to ± 0.25"),
    (torch.Tensor.bfloat16, "bfloat16, in"),
    (lambda x: torch.as_tensor(x, dtype=torch.float16), "float16, in which −100 nats are known to ± 0.031"),
    (torch.Tensor.half, "float16, in"),
])  # fmt: skip
@pytest.mark.parametrize("fault", ["", "sum", "clamp"])
def test_a_loss_in_few_digits_is_judged_without_its_rounding(narrow, word, fault):
    """By how far −100 may be off: half a last place, 2⁻² of 8 bits and 2⁻⁵ of 11."""
    in_few = lambda *sides: planted("dpo", fault, *map(narrow, sides), None, None).float()
    few, *others = check_loss(in_few, "dpo")
    assert f"it is computed in {word}" in few
    assert others == check_loss(lambda *sides: planted("dpo", fault, *sides, None, None), "dpo")
    assert bool(others) is bool(fault)


def test_a_loss_in_float32_is_not_accused_where_its_digits_end():
    """1 − σ of rewards less their mean over the batch is 0 there, with gradients below the last of their digits."""

    def kto(*sides):
        pc, pr, rc, rr = (side.float() for side in sides)
        c, d = 0.1 * (pc - rc), 0.1 * (pr - rr)
        mean = torch.cat([c, d]).mean().detach()
        return (1 - torch.sigmoid(c - mean)).mean() + (1 - torch.sigmoid(mean - d)).mean()

    (said,) = check_loss(kto, "kto")
    assert said.startswith("rewards are taken less their mean over the batch;")


@pytest.mark.parametrize(
    ("of", "detached", "weight", "said"),
    [
        (lambda c, d: (torch.cat([c, d]).mean(),) * 2, True, 1.33, "their mean over the batch, but at least 0;"),
        (lambda c, d: (torch.cat([c, d]).mean(),) * 2, False, 1.0, "at least 0, and gradient flows through it"),
        (lambda c, d: (d.mean(), c.mean()), True, 1.0, "the mean of the other class, but at least 0"),
    ],
)
def test_a_reference_point_of_kto_from_the_batch_is_named_beside_pooling_and_weights(of, detached, weight, said):
    def kto(pc, pr, rc, rr):
        c, d = pc - rc, pr - rr
        one, other = ((z.detach() if detached else z).clamp(min=0.0) for z in of(c, d))
        chosen, rejected = 1 - torch.sigmoid(0.1 * (c - one)), 1 - torch.sigmoid(0.1 * (other - d))
        return torch.cat([weight * chosen, rejected]).mean()

    pooled, offset, *weights = check_loss(kto, "kto")
    assert "(pooled)" in pooled
    assert said in offset
    assert weights == ["chosen weigh 1.33 times what they do in ours"] * (weight != 1.0)


def kto_of_trl(fault, *sides):
    """KTO as TRL 1 writes it, a mean over all examples and a KL over mismatched pairs, from its formula; one fault."""
    pc, pr, rc, rr, other, other_reference = sides[:4] + sides[-2:]
    c, d, kl = pc - rc, pr - rr, (other - other_reference).mean()
    kl = {"batch": torch.cat([c, d]).mean(), "none": 0.0 * kl}.get(fault, kl)
    kl = kl if fault == "gradient" else kl.detach()
    kl = kl if fault == "unclamped" else kl.clamp(min=0)
    kl = kl / 0.1 if fault == "beta" else kl
    return torch.cat([1 - torch.sigmoid(0.1 * (c - kl)), 1 - torch.sigmoid(0.1 * (kl - d))]).mean()


#: fault of the reference point → what is said of it.
POINTS = {
    "": "", "unclamped": "less their mean over the mismatched pairs; ours less that, but at least 0",
    "gradient": "mean over the mismatched pairs, but at least 0, and gradient flows through it; through ours none",
    "beta": "the mean log-ratio of the mismatched pairs, but at least 0; ours less kl_beta times that",
    "batch": "mean over the batch, but at least 0; ours less their mean over the mismatched pairs, but at least 0",
    "none": "rewards are taken as they are; ours less their mean over the mismatched pairs, but at least 0",
}  # fmt: skip


@pytest.mark.parametrize("fault", POINTS)
def test_a_reference_point_over_mismatched_pairs_is_that_of_ours_and_another_is_named(fault):
    kto = functools.partial(kto_of_trl, fault)
    pooled, *others = check_loss(kto, "kto", mismatched=True, tokens=True)
    assert pooled == "one mean over all examples (pooled); ours takes class means"
    assert [sentence[-len(POINTS[fault]) :] for sentence in others] == [POINTS[fault]] * bool(fault)


def test_weights_of_both_classes_are_named_beside_pooling():
    """As TRL weighs desirable and undesirable examples before its mean: one weight, and a factor."""

    def weighted(pc, pr, rc, rr):
        chosen, rejected = 1 - torch.sigmoid(0.1 * (pc - rc)), 1 - torch.sigmoid(0.1 * (rr - pr))
        return torch.cat([1.33 * chosen, 0.7 * rejected]).mean()

    assert check_loss(weighted, "kto", kl_beta=0.1) == [
        "one mean over all examples (pooled); ours takes class means",
        "chosen weigh 1.9 times what they do in ours",
        "the loss is 0.7 times ours",
    ]


def test_pairs_that_the_loss_has_no_use_for_are_refused():
    with pytest.raises(ValueError, match="dpo has no reference point, which mismatched pairs are for: kto, bco, fdo"):
        check_loss(LOSSES["dpo"].function, "dpo", mismatched=True)
    with pytest.raises(ValueError, match="rejected_shift is given, and mismatched pairs are for estimating it"):
        check_loss(LOSSES["kto"].function, "kto", mismatched=True, rejected_shift=1.0)
    with pytest.raises(ValueError, match=r"for sides of shape \(3,\), \(5,\), \(3,\), \(5,\), \(8,\), \(8,\): "):
        check_loss(LOSSES["kto"].function, "kto", mismatched=True)


@pytest.mark.parametrize("name", ["kto", "bco", "fdo"])
def test_mismatched_pairs_are_for_every_loss_with_a_reference_point(name):
    """As `align --shift mismatched` has it: of the rewards of both classes."""

    def theirs(pc, pr, rc, rr, policy, reference):
        point = 0.3 * (policy - reference).mean().clamp(min=0.0).detach()
        return reduced(name, terms(name, 0.3 * (pc - rc) - point, 0.3 * (pr - rr) - point, ()), "")

    assert check_loss(theirs, name, mismatched=True, kl_beta=0.3) == []


def test_what_is_not_finite_is_said_without_a_warning():
    dpo = lambda *sides: LOSSES["dpo"].function(*sides, kl_beta=0.1)
    assert check_loss(lambda *sides: dpo(*sides) + math.inf, "dpo") == [
        "the loss is not finite on a small batch, where ours is"
    ]
    assert check_loss(lambda *sides: dpo(*sides) + (0.0 * sides[0]).sqrt().sum(), "dpo") == [
        "its gradient is not finite on a small batch, where ours is"
    ]


def test_what_no_change_explains_is_said_with_numbers():
    said = check_loss(lambda pc, pr, rc, rr: ((pc - pr - rc) ** 2).mean(), "dpo")
    assert said[0].startswith("no known change of ours explains it: the loss is ")
    assert "the reference of rejected has no effect" in said
    assert check_loss(lambda *sides: sides[0].detach().mean(), "dpo") == [
        "no gradient reaches the policy: the loss is detached, or a constant"
    ]
    said = check_loss(lambda *sides: softplus(0.1 * (sides[1] - sides[0])), "dpo")[0]
    assert "not reduced, it returns shape (8,)" in said, "one of a single pair looks like a number"
    with pytest.raises(ValueError, match=r"raised ZeroDivisionError for sides of .*: division by zero"):
        check_loss(lambda *sides: 1 / 0, "dpo")
    with pytest.raises(ValueError, match="ddro takes no 'kl_beta'"):
        check_loss(LOSSES["ddro"].function, "ddro", kl_beta=1.0)


@pytest.mark.parametrize("side", ["chosen", "rejected"])
def test_of_two_gradients_the_one_that_is_not_ours_is_said(side, monkeypatch):
    monkeypatch.setattr(conformance._Search, "explain", lambda *_: None)

    def other(*sides):
        i = ("chosen", "rejected").index(side)
        return LOSSES["dpo"].function(*sides, kl_beta=0.1) + sides[i].square().mean()

    _, *said = check_loss(other, "dpo", kl_beta=0.1)
    assert [sentence.partition(" adds up")[0] for sentence in said] == [f"its gradient in the policy of {side}"]


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["theirs:summed", "dpo", "--kl-beta", "0.5"], 1, "- the loss is the sum over its batch"),
        (["llm_validation.losses:kto", "kto"], 0, "- no difference in value or gradient"),
        (
            ["theirs:kto", "kto", "--mismatched"],
            0,
            "class means; reference point over mismatched pairs)\n- no difference",
        ),
        (["theirs:nothing", "dpo"], 2, "module 'theirs' has no function 'nothing'"),
        (["nowhere:loss", "dpo"], 2, "module 'nowhere' cannot be imported"),
        (["theirs", "dpo"], 2, "'theirs' must be MODULE:FUNCTION"),
    ],
)
def test_the_command(words, status, said, tmp_path, monkeypatch, capsys):
    code = "import torch\ndef summed(a, b, c, d):\n    return torch.nn.functional.softplus((b - a + c - d) / 2).sum()\n"
    code += "def kto(a, b, c, d, e, f):\n    z = torch.relu((e - f).mean().detach())\n"
    code += "    return torch.sigmoid((z - a + c) / 10).mean() + torch.sigmoid((b - d - z) / 10).mean()\n"
    (tmp_path / "theirs.py").write_text(code, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "theirs", raising=False)
    assert conform_main(words) == status
    assert said in "".join(capsys.readouterr())


def test_a_loss_divided_by_kl_beta_is_named():
    divided = lambda *sides: planted("dpo", "", *sides, None, None) / BETA["dpo"]
    assert check_loss(divided, "dpo") == ["the loss is divided by kl_beta"]


def test_a_factor_near_kl_beta_is_not_called_kl_beta():
    near = lambda *sides: 0.1001 * LOSSES["dpo"].function(*sides, kl_beta=0.1)
    assert check_loss(near, "dpo", kl_beta=0.1) == ["the loss is 0.1001 times ours"]


@pytest.mark.parametrize(
    ("factors", "said"),
    [
        ((1.0, 0.0, 0.0), []),
        ((1.0 + 1e-6, 0.0, 0.0), []),
        ((-1.0, 0.0, 0.0), ["the sign of the loss is wrong"]),
        ((0.2, 0.0, 0.0), ["the loss is multiplied by kl_beta"]),
        ((5.0, 0.0, 0.0), ["the loss is divided by kl_beta"]),
        ((2.5, 0.0, 0.0), ["the loss is 2.5 times ours"]),
        ((0.0, 1.0, 0.0), ["chosen and rejected are exchanged: the sign of the loss's argument is wrong"]),
        ((0.9, 0.1, 0.0), ["labels are smoothed, by 0.1"]),
        ((1.125, -0.125, 0.0), ["labels are smoothed, and the bias taken out again, by 0.1"]),
        ((1.0, 0.0, 0.3), ["the loss is ours plus the constant 0.3"]),
    ],
)
def test_factors_in_words(factors, said):
    """Of labels that are flipped with probability ε the unbiased loss is ((1 − ε)·L − ε·L′)/(1 − 2ε)."""
    ours = SimpleNamespace(kl_beta=0.2)
    assert conformance.Explanation((), *factors).sentences(ours) == said


@pytest.mark.parametrize("limit", [0.02, 0.7, 42.0, 999.0])
def test_where_something_fails_is_found_to_four_digits(limit):
    assert conformance._first_failure(lambda size: size < limit) == pytest.approx(limit, rel=1e-4)
    assert conformance._first_failure(lambda size: False) is None
    assert conformance._first_failure(lambda size: size < 1001.0) is None
