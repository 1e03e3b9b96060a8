"""Names from outside are printed as they are, wherever that is."""

from __future__ import annotations

import pytest
from matplotlib.figure import Figure

from figures.distortion import people
from figures.style import Drawing, caption
from paper.latex import latex_people
from simulate.rows.store import Row
from tests.oracles.rows import made_row
from theory.markup import code, csv, html, latex, markdown_text, mathtext, tex_name

#: text → LaTeX, a name for csname, Markdown, HTML
NAMES = {
    "Ba$$in.csv": (r"Ba\$\$in.csv", "BaU+0024U+0024in.csv", r"Ba\$\$in.csv", "Ba$$in.csv"),
    r"a\b_{c}^%#&~": (
        r"a\textbackslash{}b\_\{c\}\textasciicircum{}\%\#\&\textasciitilde{}",
        "aU+005Cb_U+007BcU+007DU+005EU+0025U+0023U+0026U+007E",
        r"a\\b\_{c}^%#&\~",
        r"a\b_{c}^%#&amp;~",
    ),
    "<b>é☃</b>": (r"<b>\'{e}U+2603</b>", "<b>U+00E9U+2603</b>", r"\<b\>é☃\</b\>", "&lt;b&gt;é☃&lt;/b&gt;"),
}


@pytest.mark.parametrize("name", NAMES)
def test_a_name_in_every_markup(name):
    assert (latex(name, outside=True), tex_name(name), markdown_text(name), html(name)) == NAMES[name]


def test_cells_and_code():
    assert [csv(text) for text in ("=1+1", "@x", "-2", "a=1", "")] == ["'=1+1", "'@x", "'-2", "a=1", ""]
    assert code("a`b\n c") == "`a'b c`"
    with pytest.raises(ValueError, match=r"U\+2603"):
        latex("☃")


def borda_of(name: str, data: str) -> Row:
    return made_row("D17", "borda", f"population={name};data={data};items=4;bt_beta=5", 1.1, 0.1, n=9, half_width=0.2)


@pytest.mark.parametrize("name", ["Ba$$in.csv", "$", "$x$ and $", r"\$a$", r"$\frac{$.csv"])
def test_a_figure_shows_the_name_of_a_file_as_it_is(name):
    """Two files of one name are told apart by their data."""
    rows = [borda_of(name, data) for data in ("a1", "b2")]
    figure = people(rows)
    assert isinstance(figure, Figure)
    assert [ax.get_title() for ax in figure.axes] == [mathtext(f"{name} ({data})") for data in ("a1", "b2")]
    said = caption(Drawing(people, ("D17",)), figure, rows)
    assert all(f") {name} ({data})" in said for data in ("a1", "b2"))  # plain text
    figure.canvas.draw()
    assert latex(f"{name} (b2)", outside=True) in latex_people(rows, 5)


def test_a_long_name_fits_its_panel_and_stands_in_the_caption():
    name = "x" * 40 + ".csv"
    figure = people([borda_of(name, "a1")])
    assert isinstance(figure, Figure)
    title = figure.axes[0].get_title()
    assert title.startswith("xxxxxxxxxxxx…")
    assert title.endswith("xxx.csv")
    assert len(title) == 24
    assert figure.axes[0].get_label() == name
