"""What is seen on the page: its figures, its charts on a small screen and on paper, its formulas, and all of it without
JavaScript."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from paper.latex import SCRIPT
from paper.ledger import lines
from paper.lessons.notebooks import PAGE
from paper.page.data import TOPICS
from theory.claims import CLAIMS

DRAWN = "!waiting.length && document.querySelectorAll('.readout dd').length > 20"


@pytest.fixture
def small(browser, page_file) -> Iterator[object]:
    """The page on a telephone, all its cards drawn."""
    context = browser.new_context(viewport={"width": 360, "height": 800})
    page = context.new_page()
    page.goto(page_file.as_uri())
    page.wait_for_function(DRAWN)
    yield page
    context.close()


def test_every_figure_is_an_image_that_can_be_drawn(small):
    """And a narrow screen does not shrink it: it is scrolled."""
    small.evaluate("document.querySelectorAll('.card details').forEach(d => { d.open = true; })")
    shown = small.evaluate("""async () => Promise.all([...document.querySelectorAll('img.figure')].map(async (img) => {
        img.loading = 'eager'; await img.decode().catch(() => null); return [img.naturalWidth, img.clientWidth]; }))""")
    assert len(shown) == len(TOPICS)
    assert [width for width, _ in shown if width < 200] == []
    assert min(width for _, width in shown) > 500
    assert small.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_charts_on_a_small_screen_can_be_read(small):
    """No number is written smaller than 10 pixels, and none stands on another."""
    sizes = small.evaluate("""[...document.querySelectorAll('.charts svg[role=img]')]
        .map(svg => 11 * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width)""")
    assert len(sizes) >= 11
    assert min(sizes) >= 10
    over = small.evaluate("""[...document.querySelectorAll('.charts svg[role=img]')].flatMap(svg => {
        const boxes = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
        return boxes.flatMap(([one, a], i) => boxes.slice(0, i).filter(([, b]) => a.left < b.right - 1
            && b.left < a.right - 1 && a.top < b.bottom - 2 && b.top < a.bottom - 2)
            .map(([other]) => [one, other])); })""")
    assert over == []


def test_a_card_is_printed_on_one_page(small):
    """Both charts side by side, on A4 within margins of a centimetre, 96 pixels to the inch."""
    small.set_viewport_size({"width": 718, "height": 1047})
    small.emulate_media(media="print")
    heights = small.eval_on_selector_all(".card", "all => all.map(card => card.getBoundingClientRect().height)")
    assert len(heights) == len(TOPICS)
    assert max(heights) < 1047


def test_a_lesson_s_figure_fits_a_small_screen(small):
    image = "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' width='432' height='200'/>"
    small.set_content(PAGE.format(title="", body=f'<img src="{image}">'))
    assert (
        small.evaluate("document.querySelector('img').decode().then(() => document.documentElement.scrollWidth)") == 360
    )


def test_formulas_of_plain_text_are_set_as_in_the_paper(small):
    """Indices and powers of statements, quantities and reasons: n_{j−1}, max_j, D⁺_x, e^{−r}, and no kl_beta."""
    texts = [claim.statement for claim in CLAIMS]
    texts += [text for claim in CLAIMS for check in claim.checks for text in (check.quantity, check.because)]
    texts = [text for text in texts if not set(text) & set('&<>"')]  # those are escaped besides

    def one(found) -> str:
        tag = "sub" if found["base"] else "sup"
        return f"{found['base'] or ''}<{tag}>{found['index'].strip('{}')}</{tag}>"

    expected = [SCRIPT.sub(one, text) for text in texts]
    assert sum(text.count("<sub>") for text in expected) > 50
    assert small.evaluate("texts => texts.map(formula)", texts) == expected


def test_an_instance_has_no_distortion_where_there_is_no_instance(small):
    """e^β/(10β) is below 1 at small β; the chart has it from β = 5 on, and so has the number below."""
    place = "#card-distortion .readout div:last-child dd"
    for beta, shown in (("1", "—"), ("5", "2.968"), ("10", "220.3")):
        small.fill("#distortion-beta", beta)
        assert small.text_content(place) == shown


def test_without_javascript_every_claim_and_its_verdict_is_there(browser, page_file, recorded_ledger):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_file.as_uri())
    expected = {line.claim.id: line for line in lines(recorded_ledger)}
    for claim_id, line in expected.items():
        place = page.locator(f"#{claim_id}")
        assert place.is_visible()
        assert line.claim.title in place.text_content()
        assert place.locator(".verdict").text_content() == line.verdict
    assert "Without JavaScript" in page.text_content("#topics")
    assert [place for place in (".filters", "#yours", ".controls >> nth=0") if page.is_visible(place)] == []
    context.close()
