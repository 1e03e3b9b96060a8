"""P16 on a language model: scores, CHES and the path of the reference's kernel against plain steps and plain rows."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from llm_validation.catalogue.reference import Reference, fit_reference, measure_reference
from llm_validation.catalogue.texts import Encoded
from llm_validation.catalogue.trie import log_policy
from llm_validation.model.model import build, save
from llm_validation.runs import displacement
from llm_validation.text.corpus import train_tokenizer
from llm_validation.training.schedule import Schedule
from tests.oracles.rows import verdicts
from theory.claim import Verdict

BETAS = np.array([0.5, 0.2, 0.4])


@pytest.fixture(scope="module")
def reference(tmp_path_factory) -> Reference:
    """Three responses, of two or three tokens, to each of three prompts, all about as likely."""
    folder = tmp_path_factory.mktemp("reference")
    tokenizer = train_tokenizer(["one two three four"] * 3, 260)
    responses = (((6, 7, 1), (7, 1), (8, 1)), ((9, 1), (10, 2, 1), (11, 1)), ((9, 1), (6, 1), (12, 1)))
    encoded = Encoded(((3,), (4,), (5,)), responses)
    model = build("smoke", len(tokenizer), 32, seed=0)
    fit_reference(model, encoded, np.full((3, 3), 1 / 3), Schedule(steps=60, rate=5e-3), torch.device("cpu"))
    law = measure_reference(model, encoded.trie())
    save(model, tokenizer, folder / "model")
    return Reference(folder / "model", encoded, law, torch.device("cpu"), 0, Schedule(steps=300, rate=3e-3))


@pytest.fixture(scope="module")
def dpo(reference) -> SimpleNamespace:
    """Laws after 0, 4, 8… small steps of plain descent on DPO's loss: features hardly move."""
    model, trie, ref, path = reference.model(), reference.trie(), reference.logs, []
    for step in range(21):
        logs = log_policy(model, trie)
        if step % 4 == 0:
            path.append(logs.detach().double().numpy())
        margin = reference.tensor(BETAS) * (logs[:, 0] - logs[:, 1] - ref[:, 0] + ref[:, 1])
        model.zero_grad()
        torch.nn.functional.softplus(-margin).sum().backward()
        with torch.no_grad():
            for weight in model.parameters():
                weight -= 4e-4 * weight.grad
    return SimpleNamespace(path=np.array(path), log_policy=path[-1])


def judged(reference, dpo) -> dict[str, set[Verdict]]:
    """Of the rows that a check judges; the others are correlations."""
    pro = SimpleNamespace(log_policy=reference.log_law + 0.1)
    rows = list(displacement.rival_rows(reference, dpo, pro, BETAS))
    shown = {row.check: row.value for row in rows if row.check in ("trained_rank", "trained_sign")}
    assert shown
    assert all(-1.0 <= value <= 1.0 for value in shown.values())
    return verdicts(row for row in rows if row.check not in shown)


def test_ches_is_the_sum_of_last_states_row_by_row(reference):
    model, encoded, found = reference.model(), reference.encoded, []
    for prompt, (chosen, rejected, _) in zip(encoded.prompts, encoded.responses, strict=True):
        sums = []
        for tokens in (chosen, rejected):
            with torch.no_grad():
                states = model.base_model(torch.tensor([[*prompt, *tokens]])).last_hidden_state[0]
            sums.append(states[len(prompt) - 1 : -1].sum(0).double())
        found.append(float(sums[0] @ sums[1] - sums[0] @ sums[0]))
    np.testing.assert_allclose(displacement.ches_scores(reference), found, rtol=1e-4)


def test_the_path_follows_plain_descent(reference, dpo):
    said = displacement.accounts(reference, displacement.score_products(reference), dpo)
    moved = (dpo.path[1:] - reference.log_law)[..., 0]
    assert moved.max() > 0.3
    np.testing.assert_allclose(said["path"], moved, atol=0.1)
    assert np.abs(said["first order"] - moved).max() > 0.3
    f = displacement.tilts(displacement.score_products(reference), np.full((1, 3), 0.7))
    np.testing.assert_allclose(f[0, :, 0] - f[0, :, 1], 0.7)


def test_its_checks_agree_and_notice_wrong_scores_and_a_response_that_falls(reference, dpo, monkeypatch):
    assert judged(reference, dpo) == {f"trained_{name}": {"agrees"} for name in ("start", "pro", "nearer")}
    right = displacement.score_products
    monkeypatch.setattr(displacement, "score_products", lambda reference: 1.05 * right(reference))
    assert judged(reference, dpo)["trained_start"] == {"disagrees"}
    falls = SimpleNamespace(log_policy=reference.log_law - [[0.1], [-0.1], [-0.1]])
    row = next(r for r in displacement.rival_rows(reference, dpo, falls, BETAS) if r.check == "trained_pro")
    assert row.value == pytest.approx(2 / 3)
