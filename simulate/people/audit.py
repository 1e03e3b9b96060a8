"""The command that audits a policy from comparisons of one's own: interval, witness, which pair to ask next.

    python -m simulate audit FILE --bt-beta 2 5                        the maximal lottery of these comparisons
    python -m simulate audit FILE --bt-beta 5 --policy borda           or Borda's rule, Copeland's, the uniform policy
    python -m simulate audit FILE --bt-beta 5 --policy tea=0.7 milk=0.3

FILE is a log of answers (user, a, b, winner), a table of wins (winner, loser, count), or a square table of wins.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence

import numpy as np

from simulate.montecarlo import generator
from simulate.numbers import Parser, a_path, carried_out, positive, seed, strict_share
from simulate.options import yes_or_no
from simulate.people.comparisons import Comparisons, read_comparisons
from simulate.people.kinds import MOST_CELLS, kinds_of_users
from theory.bradley_terry import Population
from theory.distortion.audit.interval import audit
from theory.distortion.audit.questions import next_questions
from theory.markup import one_line
from theory.policy.nash import maximal_lottery
from theory.social_choice.pairwise import borda, copeland
from theory.validate import Array, check_distribution

RULES = {
    "maximal_lottery": lambda P: maximal_lottery(P).policy,
    "borda": borda,
    "copeland": copeland,
    "uniform": lambda P: np.full(len(P), 1.0 / len(P)),
}
#: The rule that is audited where none is named.
USUAL = "maximal_lottery"
#: Chance at which users are said to be of several kinds, and the answers of which that is asked at most.
SURE, MOST_DEALT = 0.01, 10**6
#: Alternatives of least probability and types of users that are shown.
SHOWN, TYPES_SHOWN = 5e-3, 6


def audit_main(arguments: list[str], stage: str = "simulate") -> int:
    """Command line, typed after a stage; exit status 0, or 2 for input that cannot be used."""
    options = _parser(stage).parse_args(arguments)
    return carried_out("audit", lambda: _audit(options))


def _audit(options: argparse.Namespace) -> None:
    """Print what was read, the policy, and a line or more for each β."""
    found = read_comparisons(
        options.file, columns=options.long, drop_ties=options.drop_ties, header=options.header,
        separator=options.separator, encoding=options.encoding,
    )  # fmt: skip
    policy = chosen_policy(options.policy, found)
    print(f"{options.file}: {int(found.count.sum())} comparisons of {len(found.items)} alternatives")
    for note in (*found.notes, *kinds(found, options.seed)):
        print(f"- {one_line(note)}")
    print(one_line(f"policy: {named_policy(found.items, policy)}"))
    for beta in dict.fromkeys(options.bt_beta):
        for line in audited(found, policy, beta, options.answers, options.confidence):
            print(one_line(line), flush=True)


def _parser(stage: str) -> argparse.ArgumentParser:
    parser = Parser(prog=f"python -m {stage} audit", description="How bad can a policy be for the users behind "
                    "these comparisons?")  # fmt: skip
    parser.add_argument("file", type=a_path, metavar="FILE", help="a log, wins, or a square table")
    parser.add_argument("--bt-beta", type=positive, nargs="+", required=True, metavar="β", help="how sharply users "
                        "choose: at β a gap of 1 in utility is decided with odds e^β")  # fmt: skip
    parser.add_argument("--policy", nargs="+", default=[USUAL], metavar="RULE|ITEM=P",
                        help=f"{', '.join(RULES)}, or probabilities of items ({USUAL})")  # fmt: skip
    parser.add_argument("--answers", type=seed, default=100, metavar="N", help="answers that the next question stands "
                        "for; 0: no question is looked for (%(default)s)")  # fmt: skip
    parser.add_argument("--confidence", type=strict_share, default=0.95, help="of the interval (%(default)s)")
    parser.add_argument(
        "--long", nargs="+", metavar="COLUMN", help="a log's columns: user, a, b, winner; or without user"
    )
    parser.add_argument("--drop-ties", action="store_true", help="leave ties out")
    parser.add_argument("--header", type=yes_or_no, metavar="yes|no", help="is the first line a header?")
    parser.add_argument("--separator", metavar="MARK", help="comma, semicolon, tab, bar, or the character itself")
    parser.add_argument("--encoding", help="of the file, say latin-1")
    parser.add_argument("--seed", type=seed, default=0, help="of the test whether users are of one kind")
    return parser


def chosen_policy(words: Sequence[str], found: Comparisons) -> Array:
    """Probabilities (A,) by a rule's name or by items. ValueError for a rule that needs pairs nobody compared."""
    if len(words) == 1 and words[0] in RULES:
        counts = found.counts
        both = counts + counts.T
        if words[0] != "uniform" and (missing := np.argwhere(np.triu(both == 0, 1))).size:
            x, y = (found.items[k] for k in missing[0])
            raise ValueError(
                f"{words[0]} needs every pair compared, and nobody compared {x!r} with {y!r} ({len(missing)} such "
                "pairs): name the policy's probabilities, ITEM=P"
            )
        P = np.full(both.shape, 0.5)
        P[both > 0] = counts[both > 0] / both[both > 0]
        return np.asarray(RULES[words[0]](P), dtype=np.float64)
    given: dict[str, float] = {}
    for word in words:
        name, equals, number = word.rpartition("=")
        if not equals:
            raise ValueError(f"--policy {word!r} is neither {', '.join(RULES)} nor ITEM=PROBABILITY")
        if name not in found.items:
            raise ValueError(f"--policy {word!r}: no item {name!r} was compared")
        if name in given:
            raise ValueError(f"--policy {word!r}: item {name!r} is named twice")
        try:
            given[name] = float(number)
        except ValueError:
            raise ValueError(f"--policy {word!r}: {number!r} is no number") from None
    return check_distribution("--policy", [given.get(name, 0.0) for name in found.items])


def named_policy(items: Sequence[str], policy: Array) -> str:
    """Its items with their probabilities, most likely first."""
    order = [k for k in np.argsort(-policy, kind="stable") if policy[k] >= SHOWN]
    return ", ".join(f"{items[k]} {policy[k]:.3g}" for k in order)


def kinds(found: Comparisons, seed: int) -> Iterator[str]:
    """Are the users of one kind? One sentence, where the file says who answered."""
    if found.user is None:
        return
    if (answers := int(found.count.sum())) > MOST_DEALT:
        yield f"whether users are of one kind is not tested: the {answers} answers are dealt anew, at most {MOST_DEALT}"
        return
    pair = np.minimum(found.winner, found.loser) * len(found.items) + np.maximum(found.winner, found.loser)
    again = np.repeat(np.arange(len(pair)), found.count)
    first = (found.winner < found.loser).astype(float)
    test = kinds_of_users(found.user[again], pair[again], first[again], generator(seed, "kinds of users"))
    if test is None:
        yield (
            "whether users are of one kind cannot be told: it takes two pairs that two users each answered, users who "
            f"answered several of these, and at most {MOST_CELLS:.0e} users times pairs"
        )
    elif test.p_value <= SURE:
        yield (
            f"users are of more than one kind (p = {test.p_value:.2g} if they were of one, {test.n_users} users, "
            f"{test.n_pairs} pairs): {100 * test.share:.0f} % answer one way, {100 * (1 - test.share):.0f} % another. "
            "No policy of one reward serves both (claims D2, D4)"
        )
    else:
        yield (
            f"that users are of one kind cannot be ruled out (p = {test.p_value:.2g}, {test.n_users} users, "
            f"{test.n_pairs} pairs)"
        )


def audited(found: Comparisons, policy: Array, bt_beta: float, answers: int, confidence: float) -> Iterator[str]:
    """Interval, witness and next question at one temperature, in lines."""
    try:
        result = audit(None, policy, bt_beta, counts=found.counts, n_users=found.n_users, confidence=confidence)
    except ValueError as error:  # which counts its items from 0
        named = ", ".join(f"{k} {name!r}" for k, name in enumerate(found.items[:12]))
        raise ValueError(f"{error} (items: {named})") from None
    yield (
        f"bt_beta = {bt_beta:g}: the policy's distortion is at most {result.upper:.4g} (confidence {confidence:g}, "
        f"claim D16); the worst population behind the data has one in [{result.lower:.4g}, {result.upper:.4g}]"
    )
    if result.witness is not None:
        yield from _witness(result.witness, found.items, result.lower)
    else:
        yield "  no witness was found: the lower end is trivial"
    if not answers:
        return
    questions = next_questions(
        found.counts, policy, bt_beta, answers=answers, n_users=found.n_users, confidence=confidence
    )
    best = questions[0]
    pair = f"{found.items[best.first]} or {found.items[best.second]}?"
    if best.expected > best.now + 1e-9:
        yield (
            f"  ask next: {pair} With {answers} more answers the share of the best average utility that is sure to be "
            f"kept is expected to go from {best.now:.3g} to {best.expected:.3g} ({best.worst:.3g} at worst), by the "
            "bounds game and lemma"
        )
    else:
        yield f"  ask next: {answers} more answers on any one pair are not expected to raise what is sure; ask more"


def _witness(witness: Population, items: Sequence[str], distortion: float) -> Iterator[str]:
    order = np.argsort(-witness.weights, kind="stable")
    heavy = [k for k in order if witness.weights[k] >= SHOWN]
    yield f"  witness: {len(heavy)} types of users at distortion {distortion:.4g}, with their utilities"
    for k in heavy[:TYPES_SHOWN]:
        liked = np.argsort(-witness.utilities[k], kind="stable")
        row = ", ".join(f"{items[i]} {witness.utilities[k, i]:.3g}" for i in liked)
        yield f"    {100 * witness.weights[k]:.3g} % of users: {row}"
    if len(heavy) > TYPES_SHOWN:
        yield f"    and {len(heavy) - TYPES_SHOWN} types more"
