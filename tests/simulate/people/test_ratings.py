"""Files of real people's ratings: what is read, and what a bad file gets."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from simulate.__main__ import main
from simulate.montecarlo import generator
from simulate.people.people import people_distortion
from simulate.people.population import generated_people
from simulate.people.ratings import read_ratings
from simulate.profiles import PROFILES
from simulate.rows.store import read_rows
from theory.claim import parse_setting

REAL = Path(__file__).resolve().parents[4] / "shared" / "data"

GOOD = "id,a,b,c\nu1,1,5,3\nu2,2,2,5\nu3,5,1,1\n"


def write(folder: Path, text: str, name: str = "ratings.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_ratings_become_utilities(tmp_path):
    rated = read_ratings(write(tmp_path, GOOD))
    assert rated.items == ("a", "b", "c")
    assert rated.ignored == ("id",)
    np.testing.assert_allclose(rated.utilities, [[0, 1, 0.5], [0.25, 0.25, 1], [1, 0, 0]])
    wide = read_ratings(write(tmp_path, GOOD), scale=(0, 10), items=["c", "a"])
    np.testing.assert_allclose(wide.utilities[0], [0.3, 0.1])
    own = read_ratings(write(tmp_path, GOOD), per_user_scale=True)
    np.testing.assert_allclose(own.utilities[1], [0, 0, 1])


def test_gzip_and_rankings(tmp_path):
    path = tmp_path / "ranks.csv.gz"
    path.write_bytes(gzip.compress(b"x,y,z\n1,2,3\n3,1,2\n"))
    np.testing.assert_allclose(read_ratings(path, "rankings").utilities, [[1, 0.5, 0], [0, 1, 0.5]])


def test_missing_cells_are_the_users_choice(tmp_path):
    path = write(tmp_path, "a,b,c\n1,5,\n2,2,5\n5,,1\n4,1,2\n")
    with pytest.raises(ValueError, match=r"2 missing cells in 2 of 4 rows, the first in line 2.*'drop'.*'pairs'"):
        read_ratings(path)
    dropped = read_ratings(path, missing="drop")
    assert (dropped.dropped, len(dropped.utilities)) == (2, 2)
    pairs = read_ratings(path, missing="pairs")
    assert len(pairs.utilities) == 4
    with pytest.raises(ValueError, match="missing cells"):
        pairs.population()
    # P(a≻b) is over the three users who rated both
    rates = pairs.pair_table(3.0).win_rates(np.full(4, 0.25))
    gaps = np.array([-4, 0, 3]) / 4
    assert rates[0, 1] == pytest.approx(float(np.mean(1 / (1 + np.exp(-3.0 * gaps)))), abs=1e-12)
    assert rates[0, 1] + rates[1, 0] == 1.0
    np.testing.assert_allclose(pairs.average_utility(np.full(4, 0.25))[1], np.mean([4, 1, 0]) / 4)


def test_complete_files_give_the_populations_win_rates(tmp_path):
    rated = read_ratings(write(tmp_path, GOOD))
    np.testing.assert_allclose(
        rated.pair_table(2.0).win_rates(np.full(3, 1 / 3)), rated.population().win_rates(2.0), atol=1e-14
    )


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "is empty"),
        ("a,b\n", {}, "no users"),
        ("a,b\n1,2\n3,x\n5,1\n4,4\n", {}, r"line 3, column 'b': 'x' is not a finite number"),
        ("a,b\n1,2\n3\n", {}, "line 3: fewer fields"),
        ("a,b\n1,2\n3,4,5\n", {}, "line 3: more fields"),
        ("a,a\n1,2\n", {}, "same name"),
        ('a,b\n1,2\n"3",4\n"x\ny",4\n5,?\n2,2\n', {"items": ["a", "b"]}, "line 4"),
        ("a,b\n1,2\n3,nan\n2,1\n", {}, r"line 3, column 'b': 'nan' is not a finite number"),
        ("a,b\n1,2\n3,9\n", {"scale": (1, 5)}, r"line 3, column 'b': rating 9 is outside the scale \[1, 5\]"),
        ("a,b\n2,2\n2,2\n", {}, "scale .* is empty"),
        ("a,b\n1,5\n2,2\n", {"per_user_scale": True}, "line 3: all ratings are equal"),
        ("a,b,c\n1,2,2\n", {"kind": "rankings"}, "line 2: not a ranking of 3 items"),
        ("a,b,c\n1,2,3\n0,1,2\n", {"kind": "rankings"}, "line 3: not a ranking"),
        ("a,name\n1,x\n2,y\n", {}, "1 item columns"),
        (GOOD, {"items": ["a", "q"]}, "no column 'q'"),
        ("a,b\n,1\n2,\n", {"missing": "drop"}, "every user has a missing cell"),
        (GOOD, {"missing": "fill"}, "missing = 'fill'"),
        (GOOD, {"kind": "stars"}, "kind = 'stars'"),
    ],
)
def test_bad_files_name_their_line(tmp_path, text, options, message):
    with pytest.raises(ValueError, match=message):
        read_ratings(write(tmp_path, text), **options)


def test_a_pair_that_nobody_rated_is_named(tmp_path):
    rated = read_ratings(write(tmp_path, "a,b\n1,\n,5\n"), missing="pairs")
    with pytest.raises(ValueError, match="no user rated both 'a' and 'b'"):
        rated.pair_table(1.0).win_rates(np.array([0.5, 0.5]))


def test_the_interval_holds_95_percent_of_the_replicates(monkeypatch):
    draws = np.linspace(1.0, 2.0, 1001)[:, None]
    monkeypatch.setattr("simulate.people.people.bootstrap", lambda *_: (np.array([1.5]), draws))
    people = generated_people(generator(0, "people"))
    found = people_distortion(people, "borda", 1.0, rng=generator(0), profile=PROFILES["smoke"])
    assert (found.low, found.high) == pytest.approx((1.025, 1.975))


def test_command_line(tmp_path, capsys):
    path = write(tmp_path, "id,a,b,c\nu1,1,5,\nu2,2,2,5\nu3,5,1,1\nu4,3,4,1\n", "mine.csv")
    results = ["--profile", "smoke", "--results", str(tmp_path / "rows"), "--jobs", "1", "--bt-beta", "5"]
    assert main(["D17", "--ratings", str(path), *results]) == 2
    assert "1 missing cells" in capsys.readouterr().err
    assert main(["D17", "--ratings", str(tmp_path / "none.csv"), *results]) == 2
    assert "no ratings file" in capsys.readouterr().err
    assert main(["D17", "--missing", "drop", *results]) == 2
    assert "--missing needs --ratings" in capsys.readouterr().err
    assert main(["D17", "--ratings", str(path), "--missing", "drop", *results]) == 0
    assert "not items (not numeric, or not named): id" in capsys.readouterr().err
    rows = read_rows(tmp_path / "rows")
    assert {row.check for row in rows} >= {"borda", "maximal_lottery", "plurality_veto", "random_dictator"}
    assert {parse_setting(row.setting)["population"] for row in rows} == {"mine.csv"}
    assert all(row.low <= row.high for row in rows)
    assert main(["D17", "--ratings", str(path), "--missing", "pairs", *results]) == 0
    on_pairs = [row for row in read_rows(tmp_path / "rows") if "missing=pairs" in row.setting]
    assert on_pairs
    assert all(row.check.endswith("_on_rated_pairs") for row in on_pairs)  # no bound covers them


@pytest.mark.skipif(not REAL.is_dir(), reason="no shared/data with real ratings beside this checkout")
@pytest.mark.parametrize(
    ("name", "kind", "users", "items"),
    [
        ("ratings_coffee4.csv.gz", "ratings", 3736, 4),
        ("rankings_sushi10.csv.gz", "rankings", 5000, 10),
        ("ratings_starwars_chars14.csv.gz", "ratings", 514, 14),
        ("rankings_starwars_films6.csv.gz", "rankings", 834, 6),
    ],
)
def test_real_files(name, kind, users, items):
    rated = read_ratings(REAL / name, kind, missing="drop")
    assert rated.utilities.shape == (users, items)
    assert rated.utilities.min() == 0.0
    assert rated.utilities.max() == 1.0
