"""Files in which a number, a name or a line may be read in two ways: read in the one that is meant, or refused."""

from __future__ import annotations

import bz2

import numpy as np
import pytest

from simulate.__main__ import main
from simulate.people.comparisons import read_comparisons
from simulate.people.readers import read_people
from tests.simulate.people.test_readers import GOOD, MODERN, WIDE, write

SURVEY = "a,b,c\n4,{},2\n5,{},3\n1,{},2\n"
RANKS = "a .rank .1 is best. or a rating, --kind rankings"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        # a column that would be no item though it holds numbers
        ("u,a,b,c\nx,1,2,NA\ny,3,4,NA\nz,5,1,2\n", {}, "line 2, column 'c': 'NA' stands beside 1 numbers: say --na"),
        (SURVEY.format('"3,5"', '"2,5"', '"4,5"'), {}, "line 2, column 'b': '3,5' may be a number that is written"),
        (SURVEY.format("50%", "20 %", "90%"), {}, "column 'b': '50%' may be a number"),
        (SURVEY.format("4/5", "2/5", "1/5"), {}, "column 'b': '4/5' may be a number"),
        ("a;b\n1,234;2,345\n3,456;1,111\n", {}, "line 2, column 'a': '1,234' may be a number in thousands"),
        ("gender,a,b,c\n1,5,3,1\n2,4,4,2\n1,3,3,3\n", {}, "column 'gender' may say something of the user"),
        ("weight,a,b,c\n1.1,5,3,1\n.9,4,4,2\n", {}, "column 'weight' may say something of the user"),
        ("user,a,b,c\nann,5,3,1\nann,4,4,2\nbob,3,3,3\n", {}, "column 'user': 'ann' stands 2 times"),
        ("user,a,b\nann,5,3\nbob,4,4\n", {"id": "user", "items": ["user", "a", "b"]}, "column 'user' is named twice"),
        # a first line that is no header
        ("u1,5,3,1\nu2,2,4,4\nu3,1,2,5\n", {}, "line 1 holds '5', a number like those below it"),
        ("5,,3\n1,2,3\n4,4,1\n", {"missing": "drop"}, "line 1 holds numbers alone"),
        ("3,5;4,5\n2;1\n1,5;5\n", {}, "line 1 holds numbers alone"),
        # rankings that nobody called so
        ("a,b,c,d\n1,2,,3\n2,1,3,\n,1,2,3\n", {"missing": "pairs"}, "every row may be a ranking.*--kind rankings or"),
        ("a,b,c,d\n1,2,2,4\n2,1,4,3\n1,1,3,4\n", {}, "every row may be a ranking"),
        ("a,b\n1,2\n2,1\n1,2\n", {}, "every row may be a ranking"),
        ("a,b,c\n0,1,2\n2,0,1\n1,2,0\n", {}, "counted from 0.*, with ranks written from 1, or --kind ratings"),
        ("u,i,rank\n1,a,1\n1,b,2\n2,a,2\n2,b,1\n", {"long": ("u", "i", "rank")}, "every row may be a ranking"),
        # what is no text, or no separator
        (bz2.compress(GOOD.encode()), {}, r"is compressed .\.bz2.: save its table as \.csv"),
        (b"PAR1\x15\x04\x15\x10", {}, "is a Parquet file"),
        ('{"user": 1, "item": "a", "rating": 5}\n', {}, "is JSON"),
        (GOOD, {"encoding": "undefined"}, "cannot be read with the encoding 'undefined'"),
        *((GOOD, {"separator": mark}, "must be one character, of no quote") for mark in '"\n\r\0'),
        ("user,a,b,winner,n\n1,x,y,x,1.5\n", {}, "line 2, column 'n': is not a number of times"),
        ("user,a,b,winner,n,wins\n1,x,y,x,1,2\n", {}, "columns 'n', 'wins' may say the same"),
    ],
)
def test_what_may_be_read_in_two_ways_is_refused(tmp_path, text, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_people(write(tmp_path, text), **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("sep=;\n" + WIDE.to_csv(index=False, sep=";"), {}),
        (WIDE.to_csv(index=False).replace("\n", "\n  \n", 2), {}),  # lines of blanks
        (WIDE.to_csv(index=False).encode("utf-32"), {}),
        (WIDE.set_axis(list("abcdef"[: WIDE.shape[1]]), axis=1).to_csv(index=False, sep=" "), {}),
        (WIDE.to_csv(index=False).replace(",", "::"), {}),
        ((WIDE - 3).to_csv(index=False).replace("-", "\u2212"), {"kind": "ratings"}),
        (WIDE.assign(name=[f"n{k}, jr" for k in range(40)]).to_csv(index=False), {}),
        ((WIDE + 0.5).assign(film="1,5").to_csv(index=False, sep=";", decimal=","), {"items": list(WIDE.columns)}),
    ],
)
def test_the_same_people_in_rarer_forms(tmp_path, text, options):
    people = read_people(write(tmp_path, text), **options)
    np.testing.assert_array_equal(people.rated.utilities, (WIDE.to_numpy() - 1) / 4)


def test_headers_of_numbered_items_are_headers(tmp_path):
    assert read_people(write(tmp_path, "user,1,2,3\nann,5,3,1\nbob,2,4,4\n")).rated.items == ("1", "2", "3")
    assert read_people(write(tmp_path, "name,2001,2002\nann,5,3\nbob,2,4\n")).rated.items == ("2001", "2002")
    said = read_people(write(tmp_path, "u1,5,3\nu2,2,4\nu3,1,5\n"), header=False)
    assert (said.n_users, said.rated.items) == (3, ("2", "3"))


def test_names_that_differ_in_little_are_said(tmp_path):
    text = "u,i,r\n1,Tea,5\n1,milk,3\n2,tea ,1\n2,milk,4\n2,1,2\n1,1.0,3\n"
    notes = read_people(write(tmp_path, text), long=("u", "i", "r"), missing="pairs").notes
    assert "2 items are called almost like another, the first 'Tea' and 'tea': taken for two" in notes
    accents = "winner,loser\ncaf\u00e9,x\ncafe\u0301,x\n"
    assert any("almost like another" in note for note in read_comparisons(write(tmp_path, accents)).notes)


def test_an_order_of_some_items_is_an_order(tmp_path):
    """Ranks are counted again among the items that are chosen, or have raters enough."""
    path = write(tmp_path, MODERN + "1: 1,3,2\n1: 2,1\n1: 1,2\n", "v.soi")
    two = read_people(path, items=["soup", "rice, fried"]).rated
    np.testing.assert_array_equal(two.utilities, [[1, 0], [0, 1], [1, 0]])
    assert read_people(path, min_raters=2).rated.items == ("soup", "rice, fried")
    long = "u,i,r\n1,a,1\n1,b,3\n1,c,2\n2,b,1\n2,c,2\n2,a,3\n"
    chosen = read_people(write(tmp_path, long), "rankings", items=["a", "b"], long=("u", "i", "r")).rated
    np.testing.assert_array_equal(chosen.utilities, [[1, 0], [0, 1]])
    with pytest.raises(ValueError, match="line 2: not a ranking of 3 items"):
        read_people(write(tmp_path, long.replace("b,3", "b,4")), "rankings", items=["a", "b"], long=("u", "i", "r"))


COUNTED = "user,a,b,winner,n\n1,x,y,x,9\n1,x,y,y,1\n2,x,y,y,3\n"


def test_answers_are_counted_as_often_as_a_column_says(tmp_path):
    people = read_people(write(tmp_path, COUNTED)).rated
    np.testing.assert_allclose(people.utilities, [[0.9, 0.1], [0.0, 1.0]])
    found = read_comparisons(write(tmp_path, COUNTED))
    assert found.counts.tolist() == [[0, 9], [4, 0]]
    assert read_comparisons(write(tmp_path, "winner,loser,freq\nx,y,5\ny,x,1\n")).counts.tolist() == [[0, 5], [1, 0]]
    without = read_comparisons(write(tmp_path, COUNTED.replace(",n", ",why")))
    assert without.counts.tolist() == [[0, 1], [2, 0]]
    assert {"columns not used: why", "a log of answers: columns user, a, b, winner; every line is one answer"} <= set(
        without.notes
    )
    for text in ("winner,loser,n,wins\nx,y,5,9\n", "user_id,judge,a,b,winner\n1,1,x,y,x\n"):
        with pytest.raises(ValueError, match="may say the same"):
            read_comparisons(write(tmp_path, text))
    named = read_comparisons(
        write(tmp_path, "user_id,judge,a,b,winner\n1,1,x,y,x\n"), columns=["judge", "a", "b", "winner"]
    )
    assert named.n_users is None or named.n_users >= 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--policy", "x=nan"), "--policy[0] = nan is not finite"),
        (("--policy", "x=-1", "y=2"), "--policy[0] = -1.0 is negative"),
        (("--policy", "x=.5", "y=.4"), "--policy sums to 0.9"),
        (("--policy", "x=.5", "x=.5"), "item 'x' is named twice"),
    ],
)
def test_the_audit_refuses_before_it_says_anything(tmp_path, capsys, words, message):
    path = write(tmp_path, COUNTED)
    assert main(["audit", str(path), "--bt-beta", "3", *words]) == 2
    said = capsys.readouterr()
    assert (message in said.err, said.out) == (True, "")


def test_the_audit_names_items_that_no_population_explains(tmp_path, capsys):
    path = write(tmp_path, "winner,loser,n\ntea,milk,1000000000\nmilk,tea,2\n")
    assert main(["audit", str(path), "--bt-beta", "3"]) == 2
    assert "no population with bt_beta = 3.0 produces it (items: 0 'milk', 1 'tea')" in capsys.readouterr().err
    assert main(["audit", str(tmp_path), "--bt-beta", "3"]) == 2
    assert "is a folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["audit", str(path), "--bt-beta", "3", "--confidence", "0"])


def test_one_user_and_a_name_that_no_row_can_carry(tmp_path, capsys):
    words = ["D17", "--profile", "smoke", "--results", str(tmp_path / "rows"), "--ratings"]
    assert main([*words, str(write(tmp_path, "a,b\n1,5\n"))]) == 2
    assert "has one user: the bootstrap over users needs two" in capsys.readouterr().err
    assert main([*words, str(write(tmp_path, GOOD, "bad\udcff.csv"))]) == 2
    assert "rename it" in capsys.readouterr().err
    assert not (tmp_path / "rows").exists()


@pytest.mark.parametrize("options", [{"separator": 5}, {"encoding": 5}, {"id": 5}, {"scale": np.array([5, 1])}])
def test_options_of_another_kind_are_named(tmp_path, options):
    with pytest.raises(ValueError, match=f"{next(iter(options))} = "):
        read_people(write(tmp_path, GOOD), **options)


def test_a_cell_of_two_lines_is_quoted_in_one(tmp_path):
    text = 'tea;milk;beer\n3;"a\nb";2\n1;"a\nb";5\n2;"a\nb";3\n5;4;4\n'
    with pytest.raises(ValueError, match="stands beside") as caught:
        read_people(write(tmp_path, text))
    assert "\n" not in str(caught.value)
