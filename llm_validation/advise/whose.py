"""Whose preferences? Where users are named: are they of one kind; where responses were compared often: the audit."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from llm_validation.advise.findings import Finding
from llm_validation.preferences.data import Example, Preferences
from llm_validation.preferences.files import records_of
from llm_validation.preferences.graphs import response_numbers
from simulate.people.audit import audited, kinds, named_policy
from simulate.people.comparisons import Comparisons
from simulate.people.readers import USER
from theory.proximal.feedback import Index
from theory.validate import Array

#: Prompts that are audited, most judgements first; judgements that one needs, and responses that it may have.
PROMPTS, LEAST, MOST = 2, 20, 6
#: Of the interval.
CONFIDENCE = 0.95


def users_of(path: Path, data: Preferences) -> Index | None:
    """The user (C,) of every pair, by a field whose name says so; None without one. ValueError where lines lack it."""
    records = dict(records_of(path))
    names = [name for name in records[data.chosen[0].line] if USER.fullmatch(name)]
    if len(names) != 1 or not data.paired:
        return None
    found = []
    for example in data.chosen:
        if names[0] not in records[example.line]:
            raise ValueError(f"{path}, {data.where(example)}: no field {names[0]!r}, which the first has")
        found.append(str(records[example.line][names[0]]))
    return np.asarray(np.unique(found, return_inverse=True)[1], dtype=np.int64)


def whose(
    data: Preferences, users: Index | None, bt_betas: Sequence[float], text: Callable[[Example], str],
    law: Callable[[Sequence[Example]], Array], answers: int = 100,
) -> list[Finding]:  # fmt: skip
    """Lines on the users, and on the prompts that were judged most.

    users     (C,) of every pair, None where nobody says;  bt_betas  temperatures to audit at
    text      what a response is called;  law  responses of a prompt ↦ what the model gives them, in proportion
    """
    if not data.paired:
        return [_said("labelled examples do not say what was preferred to what: an audit needs comparisons", "D16")]
    everything = _comparisons(data, range(len(data.chosen)), users, text)[0]
    found = [_said(line, "D4") for line in kinds(everything, 0)]
    if users is None:
        found.append(_said("no field says who judged (user), so whether users are of one kind cannot be told", "D4"))
    parts = [_comparisons(data, rows, users, text) for rows in _most_judged(data)]
    if not parts:
        found.append(_said(f"no prompt has {LEAST} judgements of at most {MOST} responses: nothing to audit", "D16"))
    elif not bt_betas:
        found.append(_said("not audited: how sharply users choose is not in the data; give --bt-beta β …", "D16"))
    for part, responses in parts:
        policy = law(responses)
        head = f"{data.where(responses[0])}: the model gives {named_policy(part.items, policy)}; "
        for beta in bt_betas:
            first, *rest = audited(part, policy, beta, answers, CONFIDENCE)
            found += [_said(line, "D16") for line in (head + first, *(line.strip() for line in rest))]
    return found


def _most_judged(data: Preferences) -> list[list[int]]:
    """Places of the pairs of each prompt that can be audited, most judgements first."""
    rows: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for k, example in enumerate(data.chosen):
        rows[example.prompt].append(k)

    def responses(places: Sequence[int]) -> int:
        return len({side[k].completion for k in places for side in (data.chosen, data.rejected)})

    fit = [places for places in rows.values() if len(places) >= LEAST and responses(places) <= MOST]
    return sorted(fit, key=len, reverse=True)[:PROMPTS]


def _comparisons(
    data: Preferences, rows: Sequence[int], users: Index | None, text: Callable[[Example], str]
) -> tuple[Comparisons, list[Example]]:
    """Pairs as comparisons of named responses, and the responses in their order."""
    winners, losers = response_numbers(data)
    places = np.asarray(rows)
    numbers, local = np.unique(np.stack([winners[places], losers[places]]), return_inverse=True)
    of_number = {int(n): e for side, ids in ((data.chosen, winners), (data.rejected, losers))
                 for n, e in zip(ids, side, strict=True)}  # fmt: skip
    responses = [of_number[int(n)] for n in numbers]
    local = local.reshape(2, -1)
    who = None if users is None else np.unique(users[places], return_inverse=True)[1]
    names = tuple(f"{k + 1} ({text(e)})" for k, e in enumerate(responses))
    once = np.ones(len(places), dtype=np.int64)
    return Comparisons(names, local[0], local[1], once, who), responses


def _said(text: str, claim: str) -> Finding:
    return Finding("whose", text, None, claim=claim)
