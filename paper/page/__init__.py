"""The page: one static file that shows the ledger, opened from disk or from any static host.

    closed_forms  formulas in JavaScript, each beside the Python function that it mirrors
    data          claims, checks and settings, as the page's data
    reference     the public API from its docstrings
    build         puts template, style, scripts, data and figures together

`python -m paper page` writes it. Lessons that stand as pages in the folder `lessons` beside it are listed.

Examples
--------
>>> from paper.page.closed_forms import FORMS
>>> form = next(form for form in FORMS if form.name == "linear_factor")
>>> form.javascript, round(form.python(5.0), 4)
('(b) => (b / 2) / Math.tanh(b / 2)', 2.5339)
"""

__all__ = ()  # a command: python -m paper page
