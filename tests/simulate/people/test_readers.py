"""Files of people: the same people however they are written down, and one sentence for what cannot be told."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from simulate.people.readers import read_people

ROOT = Path(__file__).resolve().parents[3]
CASES, REAL = ROOT / "tests" / "data" / "people", ROOT.parent / "shared" / "data"
WIDE = pd.read_csv(CASES / "first.csv")
TEXT, ITEMS = WIDE.to_csv(index=False), list(WIDE.columns)
WITH_ID = WIDE.assign(userId=range(1, 41))[["userId", *ITEMS]]
LONG = WITH_ID.melt("userId", var_name="movieId", value_name="rating").sort_values("userId", kind="stable")
LONG_TEXT = LONG.assign(timestamp=range(964982703, 964982863)).to_csv(index=False)
GOOD = "id,a,b,c\nu1,1,5,3\nu2,2,2,5\nu3,5,1,1\n"


def write(folder: Path, text: str | bytes, name: str = "ratings.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    ("text", "options"),
    [
        (TEXT, {}),
        (gzip.compress(TEXT.encode()), {}),
        (TEXT + "\n\n", {}),  # blank lines at the end
        (TEXT.replace("\n", "\r\n"), {}),
        (LONG_TEXT, {"long": ("userId", "movieId", "rating")}),
        (LONG_TEXT, {"long": True}),
        (WITH_ID.to_csv(index=False), {"id": "userId"}),
        (WITH_ID.to_csv(index=False), {"items": ITEMS}),
        ((WIDE + 0.5).to_csv(index=False, sep=";", decimal=","), {}),
        (WIDE.to_csv(index=False, sep="\t"), {}),
        (TEXT.encode("utf-16"), {}),
        (TEXT.encode("utf-16-le"), {"encoding": "utf-16-le"}),
        (b"\xff\xfe" + TEXT.encode("utf-16-le"), {"encoding": "utf-16-le"}),  # a mark where the encoding is named
        (b"\xef\xbb\xbf" + TEXT.encode(), {}),
        ("# who said so\n# and when\n" + TEXT, {}),
        (WIDE.assign(note="x" * 200_000).to_csv(index=False), {}),  # longer than csv's 131 072
        (WIDE.assign(age=WIDE.index + 18).to_csv(index=False), {"items": ITEMS}),
        (WIDE.assign(E=99).to_csv(index=False), {"na": "99", "min_raters": 1}),
        (WIDE.assign(E=99.0).to_csv(index=False), {"na": "99", "min_raters": 1}),  # the same number
    ],
)  # fmt: skip
def test_the_same_people_however_they_are_written_down(tmp_path, text, options):
    people = read_people(write(tmp_path, text, "people.csv"), **options)
    assert people.rated.items == tuple(ITEMS)
    np.testing.assert_array_equal(people.rated.utilities, (WIDE.to_numpy() - 1) / 4)


def test_what_was_taken_for_what_is_said_with_counts(tmp_path):
    path = write(tmp_path, "who;plan;a;b\nx;old;1,5;99\ny;new;5,5;2,5\nz;old;2,5;3,5\n")
    said = "\n".join(read_people(path, na="99", missing="drop").notes)
    for words in ("separator semicolon", "header in line 1", "decimal commas", "99: 1 cells are missing values",
                  "1 users with missing cells left out", "scale 2.5 to 5.5 (of the file)",
                  "items (raters): a (2), b (2)", "not items (not numeric, or not named): who, plan"):  # fmt: skip
        assert words in said
    long = read_people(write(tmp_path, LONG_TEXT + "9,Beta2,9,1\n"), long=True, na="9", missing="pairs")
    assert "9: 1 cells are missing values" in long.notes  # user 9 is none
    numbered = read_people(write(tmp_path, "3,5\n1,2\n4,4\n"), header=False)
    assert (numbered.rated.items, numbered.n_users) == (("1", "2"), 3)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "is empty"),
        ("a,b\n", {}, "no users"),
        ("a,b\n1,2\n3,x\n5,1\n4,4\n", {}, r"line 3, column 'b': 'x' is not a finite number"),
        ("a,b\n1,2\n3,inf\n5,1\n4,4\n", {}, r"line 3, column 'b': 'inf' is not a finite number"),
        ("a,b\n1,2\n3,nan\n2,1\n", {}, r"line 3, column 'b': 'nan' is not a finite number; .*--na"),
        ("a,b\n1,2\n3," + "9" * 200_000 + "x\n5,1\n4,4\n", {}, r"column 'b': '9{37}…' is not a finite number"),
        ("a,b\n1,2\n\n3\n", {}, "line 4: fewer fields"),
        ("a,b\n1,2\n3,4,5\n", {}, "line 3: more fields"),
        ("a,a\n1,2\n", {}, "same name 'a'"),
        ('a,b\n1,2\n"3",4\n"x\ny",4\n5,?\n2,2\n', {"items": ["a", "b"]}, "line 4"),
        ('a,b\n1,2\n"3,4\n', {}, "line 3: unexpected end of data"),
        ("a,b\n1,2\n3,9\n", {"scale": (1, 5)}, r"line 3, column 'b': rating 9 is outside the scale \[1, 5\]"),
        ("a,b\n1,2\n3,9\n", {"scale": (float("-inf"), 5)}, "scale = .* two finite numbers"),
        ("a,b\n2,2\n2,2\n", {}, "scale .* is empty"),
        ("a,b\n1,5\n2,2\n", {"per_user_scale": True}, "line 3: all ratings are equal"),
        ("a,b,c\n1,2,5\n", {"kind": "rankings"}, "line 2: not a ranking of 3 items"),
        ("a,b,c\n1,2,3\n0,1,2\n", {"kind": "rankings"}, "line 3: not a ranking"),
        ("a,b,c\n1,2,3\n3,1,2\n", {}, "a rank .1 is best. or a rating, --kind"),
        ("a,b\n1,0\n-1,2\n", {"kind": "votes"}, "line 3, column 'b': 2 is not a vote"),
        ("a,name\n1,x\n2,y\n", {}, "1 item columns"),
        (GOOD, {"items": ["a", "q"]}, "no column 'q'"),
        (GOOD, {"items": ["a", "a"]}, "'a' is named twice"),
        ("a,b\n,1\n2,\n", {"missing": "drop"}, "every user has a missing cell"),
        ("a,b\n1,\n,5\n", {"missing": "pairs"}, "no user rated both 'a' and 'b'.*--min-raters"),
        (GOOD, {"missing": "fill"}, "missing = 'fill'"),
        (GOOD, {"kind": "stars"}, "kind = 'stars'"),
        (LONG_TEXT, {}, "looks like a long table.*--long userId movieId rating"),
        (LONG_TEXT, {"long": ("userId", "movieId", "when")}, "no column 'when'"),
        (LONG_TEXT, {"long": ("userId", "movieId")}, "must name columns"),
        (LONG_TEXT + "3,Beta,2,1\n", {"long": True}, "line 162: user '3' rated item 'Beta' in a line before"),
        (WITH_ID.to_csv(index=False), {}, "column 'userId' may be an id .40 different.*--id userId"),
        (WIDE.assign(x=np.arange(40) * 3 % 41).to_csv(index=False), {}, "column 'x' may be an id"),
        ("id,a,b\n1,2,3\n1,4,5\n", {"id": "id"}, "line 3: user '1' was in a line before"),
        (WIDE.assign(tall=30 + WIDE.index % 9).to_csv(index=False), {}, "column 'tall' goes from 30 to 38.*--items"),
        (WIDE.replace({"Beta": {5: 99}}).to_csv(index=False), {}, "99 stands 15 times, far from all others.*--na 99"),
        ("1,2\n3,4\n", {}, "line 1 holds numbers alone.*--header yes or no"),
        ("a;b,c;d\n1;2,3;4\n", {}, "may be separated by comma or semicolon: name it"),
        ("a;b\n1,5;2.5\n2;3\n", {}, "decimal comma in line 2 and a decimal point in line 2"),
        ("a,b\n1,2\ncaf\xe9,2\n".encode("latin-1"), {}, "line 3: byte 0xe9 is not utf-8.*latin-1 reads 'café'"),
        ("a,b\n1,2\nO\u2019B,2\n".encode("mac_roman"), {}, "byte 0xd5 is not utf-8.*mac_roman reads 'O\u2019B'"),
        ("a,b\n1,2\n".encode("utf-16-le"), {}, "line 1: a zero byte.*--encoding"),
        (GOOD, {"encoding": "klingon"}, "no encoding 'klingon'"),
        (GOOD, {"min_raters": 9}, "0 items have 9 raters"),
        ("a,b\n1e308,-1e308\n0,1\n", {}, "too wide for float64"),
        (LONG_TEXT + ",Beta,2,1\n", {"long": True}, "line 162, column 'userId': an empty cell"),
        (LONG_TEXT + "41,,2,1\n", {"long": True}, "line 162, column 'movieId': an empty cell"),
        ("id,a,b\nx,2,3\n,4,5\n", {"id": "id"}, "line 3, column 'id': an empty cell"),
        (LONG_TEXT, {"long": True, "id": "userId"}, r"id .--id. is not of a long table"),
        ("user,a,b,winner\n1,x,y,x\n", {"na": "99"}, r"na .--na. is not of a log"),
        (b"PK\x03\x04" + bytes(40), {}, "archive or a spreadsheet"),
        (GOOD, {"items": "ab"}, "items = 'ab' must be a list of names"),
        (GOOD, {"na": 5}, "na = 5 must be a list"),
        (GOOD, {"scale": ("a", 5)}, "scale must hold real numbers"),
        (GOOD, {"min_raters": 1.5}, "min_raters = 1.5 must be a whole"),
        (GOOD, {"per_user_scale": "yes"}, "per_user_scale must be True or False"),
        (GOOD, {"header": "yes"}, "header must be True or False"),
        (GOOD, {"separator": ""}, "separator '' must be one character"),
    ],
)  # fmt: skip
def test_one_sentence_names_the_line_and_the_way_out(tmp_path, text, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_people(write(tmp_path, text), **options)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("cut", [slice(None, -20), slice(5, None)])
def test_a_broken_archive_is_named(tmp_path, cut):
    with pytest.raises(ValueError, match=r"people.csv.gz is a truncated or corrupt .gz file"):
        read_people(write(tmp_path, gzip.compress(GOOD.encode() * 50)[cut], "people.csv.gz"))


def test_missing_cells_are_the_users_choice(tmp_path):
    path = write(tmp_path, "a,b,c\n1,5,\n2,2,5\n5,,1\n4,1,2\n")
    with pytest.raises(
        ValueError, match=r"2 missing cells in 2 of 4 rows, the first in line 2.*--missing drop.*--missing pairs"
    ):
        read_people(path)
    dropped = read_people(path, missing="drop").rated
    assert (dropped.dropped, len(dropped.utilities)) == (2, 2)
    pairs = read_people(path, missing="pairs").rated
    assert len(pairs.utilities) == 4
    with pytest.raises(ValueError, match="missing cells"):
        pairs.population()
    # P(a≻b) is over the three users who rated both
    even = np.full((1, 4), 0.25)
    rates, gaps = pairs.win_rates(even, 3.0)[0], np.array([-4, 0, 3]) / 4
    assert rates[0, 1] == pytest.approx(float(np.mean(1 / (1 + np.exp(-3.0 * gaps)))), abs=1e-12)
    assert rates[0, 1] + rates[1, 0] == 1.0
    np.testing.assert_allclose(pairs.average_utilities(even)[0, 1], np.mean([4, 1, 0]) / 4)


def test_votes_with_many_blanks_and_items_by_their_raters(tmp_path):
    path = write(tmp_path, "a,b,c,d\n1,-1,,\n,0,1,\n-1,,1,\n1,1,,-1\n")
    people = read_people(path, missing="pairs", min_raters=2)
    assert people.rated.items == ("a", "b", "c")
    assert any("1 items with fewer than 2 raters left out: 'd'" in note for note in people.notes)
    np.testing.assert_array_equal(people.rated.utilities[1], [np.nan, 0.5, 1.0])
    everything = read_people(path, missing="pairs")
    assert everything.rated.unrated_pairs() == (("c", "d"),)
    assert any("1 pairs that no user rated both items of, the first 'c' and 'd'" in note for note in everything.notes)


@pytest.mark.parametrize(
    ("text", "utilities"),
    [
        ("x,y,z\n1,2,3\n3,1,2\n", [[1, 0.5, 0], [0, 1, 0.5]]),
        ("x,y,z\n1,2,2\n2,2,1\n", [[1, 0.25, 0.25], [0.25, 0.25, 1]]),
        ("x,y,z\n1,2.5,2.5\n3,1,2\n", [[1, 0.25, 0.25], [0, 1, 0.5]]),
        ("x,y,z\n1,1,3\n3,1,2\n", [[0.75, 0.75, 0], [0, 1, 0.5]]),
        ("x,y,z\n2,1,\n1,,\n3,1,2\n", [[0.5, 1, np.nan], [1, np.nan, np.nan], [0, 1, 0.5]]),
    ],
)
def test_rankings_with_ties_and_truncation(tmp_path, text, utilities):
    found = read_people(write(tmp_path, text), "rankings", missing="pairs").rated.utilities
    np.testing.assert_allclose(found, utilities)


MODERN = "# TITLE: lunch\n# ALTERNATIVE NAME 1: soup\n# ALTERNATIVE NAME 2: rice, fried\n# ALTERNATIVE NAME 3: pie\n"
OLDER = "3\n1,soup\n2,rice, fried\n3,pie\n3,3,2\n"


@pytest.mark.parametrize(
    ("name", "text", "utilities"),
    [
        ("v.soc", MODERN + "2: 3,1,2\n1: 1,2,3\n", [[0.5, 0, 1], [0.5, 0, 1], [1, 0.5, 0]]),
        ("v.soc", OLDER + "2,3,1,2\n1,1,2,3\n", [[0.5, 0, 1], [0.5, 0, 1], [1, 0.5, 0]]),
        ("v.toc", MODERN + "1: 2,{1,3}\n1: {1,2,3}\n", [[0.25, 1, 0.25], [0.5, 0.5, 0.5]]),
        ("v.soi", MODERN + "1: 2\n1: 1,2,3\n", [[np.nan, 1, np.nan], [1, 0.5, 0]]),
        ("v.toi", MODERN + "1: {2,3}\n1: 1,{2,3}\n", [[np.nan, 0.75, 0.75], [1, 0.25, 0.25]]),
    ],
)
def test_preflib_files(tmp_path, name, text, utilities):
    people = read_people(write(tmp_path, text, name), missing="pairs")
    assert people.rated.items == ("soup", "rice, fried", "pie")
    np.testing.assert_allclose(people.rated.utilities, utilities)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (MODERN + "1: 1,4\n", "line 5: there is no alternative '4'"),
        (MODERN + "1: 1,1\n", "line 5: alternative '1' stands twice"),
        (MODERN + "x: 1,2\n", "line 5: 'x' is not a number of voters"),
        (MODERN + "1,2\n", "line 5: '1,2' is no `count: order`"),
        (MODERN, "3 alternatives and 0 orders"),
        ("a,b\n1,2\n", "line 1: 'a,b' is not the number of alternatives"),
        (MODERN + "²: 1,2\n", "line 5: '²' is not a number of voters"),
        (MODERN + "9999999999999: 1,2\n", "more than memory holds"),
        (MODERN + "1: 1,{2,3\n", "line 5: '1,{2,3' is no order"),
        (MODERN + "1: 1,,3\n", "line 5: '1,,3' is no order"),
        (MODERN + "1: {1,},3\n", "line 5: there is no alternative ''"),
        (MODERN.replace("pie", "soup") + "1: 1,2\n", "line 4: alternative 3 'soup'.* stands twice"),
        (MODERN.replace(" 3:", " 2:") + "1: 1,2\n", "line 4: alternative 2 'pie'.* stands twice"),
        ("# NUMBER ALTERNATIVES: 4\n" + MODERN + "1: 1,2\n", "says 4 alternatives and has 3: is it cut off"),
        ("# NUMBER VOTERS: 9\n" + MODERN + "2: 1,2\n", "says 9 voters and has 2: is it cut off"),
        (OLDER + "2,3,1,2\n", "says 3 voters and has 2: is it cut off"),
        (OLDER.replace("2,rice", "1,rice") + "3,3,1\n", "line 3: alternative 1 .* stands twice"),
        (OLDER.replace("3,3,2", "1,1") + "2,3,1,2\n", "line 5: '1,1' is not the numbers of voters"),
    ],
)
def test_a_broken_preflib_file_is_named_by_its_line(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        read_people(write(tmp_path, text, "v.soi"))
    with pytest.raises(ValueError, match=r"kind .--kind. is not of a PrefLib file"):
        read_people(write(tmp_path, MODERN + "1: 1,2,3\n", "v.SOC"), kind="ratings")
    with pytest.raises(ValueError, match=r"\.wmd holds no orders"):
        read_people(write(tmp_path, text, "v.wmd"))


def test_pairwise_logs_become_shares_won(tmp_path):
    log = "user,a,b,winner\n1,x,y,x\n1,y,z,b\n1,x,z,tie\n2,x,y,y\n2,x,y,x\n"
    people = read_people(write(tmp_path, log), missing="pairs")
    assert people.rated.items == ("x", "y", "z")
    np.testing.assert_allclose(people.rated.utilities, [[0.75, 0, 0.75], [0.5, 0.5, np.nan]])
    assert any("read as pairs (by its columns or cells)" in note for note in people.notes)
    arena = log.replace("user,a,b,winner", "judge,model_a,model_b,winner").replace(",b\n", ",model_b\n")
    renamed = log.replace("user,a,b,winner", "p,q,r,s")
    for text, options in ((arena, {}), (renamed, {"kind": "pairs", "long": ("p", "q", "r", "s")})):
        again = read_people(write(tmp_path, text), missing="pairs", **options)
        np.testing.assert_array_equal(again.rated.utilities, people.rated.utilities)
    with pytest.raises(ValueError, match="line 3, column 'winner': 'w': the winner is neither"):
        read_people(write(tmp_path, log.replace("z,b", "z,w")), missing="pairs")
    # an item's name is no word for a side or a tie
    tie = read_people(write(tmp_path, "user,a,b,winner\n1,tie,y,tie\n1,tie,y,y\n1,y,tie,b\n"))
    np.testing.assert_allclose(tie.rated.utilities, [[2 / 3, 1 / 3]])
    with pytest.raises(ValueError, match="line 2, column 'winner': 'a': the winner is neither"):
        read_people(write(tmp_path, "user,a,b,winner\n1,c,b,a\n1,a,b,a\n"))
    for line, column in ((",x,y,x", "user"), ("1,,y,y", "a"), ("1,x,,x", "b")):
        with pytest.raises(ValueError, match=f"line 2, column '{column}': an empty cell"):
            read_people(write(tmp_path, f"user,a,b,winner\n{line}\n1,x,y,x\n"))
    with pytest.raises(ValueError, match="name those for user, a, b and winner"):
        read_people(write(tmp_path, log.replace("user,", "who,")), missing="pairs")


def test_a_ranking_compared_pair_by_pair_is_the_same_people(tmp_path):
    """The share won of all comparisons is the linear utility of the rank."""
    ranks = np.array([[1, 2, 3, 4], [4, 1, 3, 2]])
    lines = ["user,a,b,winner"]
    for user, own in enumerate(ranks):
        lines += [f"u{user},i{x},i{y},i{x if own[x] < own[y] else y}" for x in range(4) for y in range(x + 1, 4)]
    pairs = read_people(write(tmp_path, "\n".join(lines))).rated
    order = [pairs.items.index(f"i{k}") for k in range(4)]
    np.testing.assert_allclose(pairs.utilities[:, order], (4 - ranks) / 3)


def test_per_user_scale(tmp_path):
    own = read_people(write(tmp_path, GOOD), per_user_scale=True).rated
    np.testing.assert_allclose(own.utilities[1], [0, 0, 1])
    assert own.ignored == ("id",)


@pytest.mark.skipif(not REAL.is_dir(), reason="no shared/data with real ratings beside this checkout")
@pytest.mark.parametrize(
    ("name", "options", "users", "items"),
    [
        ("ratings_coffee4.csv.gz", {}, 3736, 4),
        ("rankings_sushi10.csv.gz", {"kind": "rankings"}, 5000, 10),
        ("ratings_starwars_chars14.csv.gz", {}, 514, 14),
        ("rankings_starwars_films6.csv.gz", {"kind": "rankings"}, 834, 6),
    ],
)
def test_real_files(name, options, users, items):
    rated = read_people(REAL / name, missing="drop", **options).rated
    assert rated.utilities.shape == (users, items)
    assert rated.utilities.min() == 0.0
    assert rated.utilities.max() == 1.0
