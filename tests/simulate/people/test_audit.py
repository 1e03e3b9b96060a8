"""Comparisons of one's own: files, whether users are of one kind, the next question, the command."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import betabinom, binomtest

from simulate.__main__ import main
from simulate.people.audit import kinds
from simulate.people.comparisons import read_comparisons
from simulate.people.kinds import kinds_of_users
from theory import audit
from theory.distortion.audit import next_questions
from theory.distortion.audit.observed import users_of
from theory.distortion.audit.questions import _guarantee

LOG = "user,a,b,winner\n1,x,y,x\n1,y,z,y\n2,y,x,right\n2,x,z,z\n3,x,y,b\n"
WINS = "winner,loser,n\nx,y,2\ny,x,1\ny,z,1\nz,x,1\n"
SQUARE = ",x,y,z\nx,0,2,0\ny,1,,1\nz,1,0,0\n"


def write(folder, text):
    path = folder / "comparisons.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("text", [LOG, WINS, SQUARE])
def test_the_same_counts_however_they_are_written_down(tmp_path, text):
    found = read_comparisons(write(tmp_path, text))
    assert found.items == ("x", "y", "z")
    assert found.counts.tolist() == [[0, 2, 0], [1, 0, 1], [1, 0, 0]]
    assert ("every answer is taken" in "".join(found.notes)) is (text is not LOG)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (LOG + "3,x,y,tie\n", {}, r"line 7: 1 comparisons are ties.*--drop-ties"),
        (LOG + "3,x,y,w\n", {}, r"line 7, column 'winner': 'w': the winner is neither"),
        (WINS + "z,z,1\n", {}, "line 6: an item is compared with itself"),
        (WINS + "z,y,1.5\n", {}, "line 6, column 'n': is not a number of times"),
        (SQUARE.replace("z,1", "z,-1"), {}, "line 4, column 'x': not a number of wins"),
        (SQUARE.replace("x,0", "x,3"), {}, "wins against itself"),
        (LOG + ",x,y,x\n", {}, "line 7, column 'user': an empty cell"),
        (LOG + "3,,y,y\n", {}, "line 7, column 'a': an empty cell"),
        (WINS + "z,,1\n", {}, "line 6, column 'loser': an empty cell"),
        (WINS + "z,y,1e19\n", {}, "line 6, column 'n': is not a number of times"),
        (SQUARE.replace("z,1", "z,1e19"), {}, "line 4, column 'x': not a number of wins"),
        ("a,b\n1,x\n", {}, "comparisons are a log"),
        (LOG, {"columns": ("a", "b")}, "must name user, a, b, winner"),
        (LOG, {"columns": ("a", "b", "who")}, "no column 'who'"),
    ],
)
def test_what_is_no_comparison_is_named(tmp_path, text, options, message):
    with pytest.raises(ValueError, match=message):
        read_comparisons(write(tmp_path, text), **options)


@pytest.mark.parametrize("answers", [(1, 1, 1), (2, 2, 2), (4, 1, 1), (5, 5, 1), (2, 1, 1, 1)])
def test_users_of_unequal_zeal(tmp_path, answers):
    rows = [f"{user},x,y,x" for user, times in enumerate(answers) for _ in range(times)]
    n = read_comparisons(write(tmp_path, "\n".join(["user,a,b,winner", *rows]) + "\n")).n_users
    allowed = [k for k in range(1, sum(answers) + 1) if math.ceil(sum(answers) / k) >= max(answers)]
    assert n == (None if max(answers) == 1 else max(allowed))


def answers_of(users, types, rng, pairs=6):
    """Answers of users of `types` kinds on the same pairs; the second kind answers the other way."""
    user, pair = np.divmod(np.arange(users * pairs), pairs)
    P = np.where((user % types == 0) ^ (pair % 2 == 0), 0.8, 0.2) if types == 2 else np.full(user.size, 0.7)
    return user, pair, (rng.random(user.size) < P).astype(float)


def test_kinds_of_users():
    rng = np.random.default_rng(0)
    two = kinds_of_users(*answers_of(60, 2, rng), rng, 199)
    assert two.p_value == 1 / 200
    sides = two.side * np.where(np.arange(60) % 2 == 0, 1, -1)
    assert abs(sides.sum()) > 45, "users stand on the side of their kind"
    one = [kinds_of_users(*answers_of(20, 1, rng), rng, 99).p_value for _ in range(60)]
    assert 0.3 < np.mean(np.array(one) <= 0.5) < 0.7
    assert kinds_of_users(np.array([0, 1]), np.array([0, 0]), np.ones(2), rng) is None


def test_users_of_one_pair_take_no_room(monkeypatch):
    """A crowd in which everyone answers once says nothing of kinds; beside others they are dealt, not in a table."""
    rng = np.random.default_rng(3)
    crowd = np.arange(10**5), rng.integers(0, 4950, 10**5), rng.integers(0, 2, 10**5).astype(float)
    assert kinds_of_users(*crowd, rng, 9) is None  # of 4 GB, if they had rows
    user, pair, won = answers_of(30, 2, rng)
    more = user.size + np.arange(40), rng.integers(0, 6, 40), np.ones(40)
    found = kinds_of_users(*(np.concatenate(both) for both in zip((user, pair, won), more, strict=True)), rng, 99)
    assert (found.n_users, found.side.size, found.p_value) == (70, 70, 0.01)
    monkeypatch.setattr("simulate.people.kinds.MOST_CELLS", 100)
    assert kinds_of_users(user, pair, won, rng, 9) is None


def test_the_p_value_is_the_share_of_all_deals():
    user, pair = np.repeat(np.arange(4), 2), np.tile([0, 1], 4)
    won = np.array([1, 1, 1, 1, 0, 0, 0, 1.0])
    table = won.reshape(4, 2) - won.reshape(4, 2).mean(0)
    stats = [(table[list(deal), 0] @ table[:, 1]) ** 2 for deal in itertools.permutations(range(4))]
    exact = np.mean(np.array(stats) >= (table[:, 0] @ table[:, 1]) ** 2 - 1e-12)
    found = kinds_of_users(user, pair, won, np.random.default_rng(0), 2000).p_value
    assert found == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / 2000))


def guaranteed(losses, wins, beta):
    """Least u(x)/u(y) by Lemma 1, β ℓ u(y) − β/4 u(x) ≤ P(y≻x) − ½: at u(y) = 1 where x wins for sure."""
    high = binomtest(losses, wins + losses).proportion_ci(0.95, "exact").high
    return min(1.0, (math.tanh(beta / 2) / 2 + 0.5 - high) / (beta / 4)) if high < 0.5 else 0.0


def test_the_next_question_on_two_alternatives():
    (found,) = next_questions([[0, 80], [20, 0]], [1.0, 0.0], 3.0, answers=50)
    more = [int(k) for k in betabinom.ppf([0.1, 0.3, 0.5, 0.7, 0.9], 50, 81, 21)]
    after = [guaranteed(20 + 50 - k, 80 + k, 3.0) for k in more]
    assert found.now == pytest.approx(guaranteed(20, 80, 3.0), abs=1e-8)
    assert (found.expected, found.worst) == pytest.approx((np.mean(after), min(after)), abs=1e-8)


def test_the_pair_that_nobody_compared_is_asked():
    counts = np.array([[0, 900, 0], [100, 0, 500], [0, 500, 0]])
    best = next_questions(counts, [1.0, 0.0, 0.0], 4.0, answers=1000)[0]
    assert (best.first, best.second) == (0, 2)
    assert best.expected > best.now


def test_more_answers_of_others_leave_the_busiest_user_as_busy():
    """300 answers, 40 of them one user's: with 300 more of others the guarantee is that of these counts by then."""
    counts = [[0, 270], [30, 0]]
    (found,) = next_questions(counts, [1.0, 0.0], 2.0, answers=300, n_users=users_of(300, 40))
    assert users_of(300, 40) == 7
    most = -(-300 // 7)  # all that 7 says of the busiest: no more than 43
    assert -(-600 // users_of(600, most)) >= most > -(-600 // (users_of(600, most) + 1))
    after = [_guarantee(np.array([[0, 270 + k], [330 - k, 0]]), np.array([1.0, 0.0]), 2.0, users_of(600, most), 0.95)
             for k in betabinom.ppf([0.1, 0.3, 0.5, 0.7, 0.9], 300, 271, 31)]  # fmt: skip
    assert found.expected == pytest.approx(np.mean(after))
    (alone,) = next_questions(counts, [1.0, 0.0], 2.0, answers=300)
    assert found.expected < 0.95 < alone.expected, "one answer each"


def test_users_are_not_dealt_anew_where_answers_are_too_many(tmp_path):
    path = write(tmp_path, "user,a,b,winner,count\n1,x,y,x,900000000000\n2,x,y,y,5\n1,x,z,x,2\n2,x,z,z,2\n")
    (said,) = kinds(read_comparisons(path), 0)
    assert said.startswith("whether users are of one kind is not tested: the 900000000009 answers")


def test_the_command(tmp_path, capsys):
    rng = np.random.default_rng(1)
    rows = []
    for user, pair, won in zip(*answers_of(60, 2, rng, pairs=3), strict=True):
        a, b = [("tea", "milk"), ("tea", "beer"), ("milk", "beer")][int(pair)]
        rows.append(f"{user},{a},{b},{a if won else b}")
    path = write(tmp_path, "\n".join(["user,a,b,winner", *rows]) + "\n")
    words = ["audit", str(path), "--bt-beta", "3", "--policy"]
    assert main([*words, "uniform"]) == 0
    said = capsys.readouterr().out
    found = read_comparisons(path)
    result = audit(None, np.full(3, 1 / 3), 3.0, counts=found.counts, n_users=found.n_users)
    assert f"distortion is at most {result.upper:.4g} (confidence 0.95" in said
    assert "more than one kind (p = 0.001" in said
    assert "witness: " in said
    assert "ask next: " in said
    assert main([*words, "tea=0.5", "milk=0.5", "--answers", "0"]) == 0
    assert "policy: milk 0.5, tea 0.5" in capsys.readouterr().out
    for policy, message in (("wine=1", "no item 'wine'"), ("veto", "is neither"), ("tea=0.9", "policy sums to 0.9")):
        assert main([*words, policy]) == 2
        assert message in capsys.readouterr().err
