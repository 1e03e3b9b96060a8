"""Names from outside, escaped for where they are printed: mathtext, LaTeX, Markdown, HTML and CSV.

A file's name, an item's, a prompt's words may hold any character; none of them may end up as markup.
"""

from __future__ import annotations

import html as _html
import re
import unicodedata

#: Characters of plain text that LaTeX needs spelt out.
TEXT = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "—": "---", "–": "--", "…": r"\dots{}",
}  # fmt: skip
#: Symbols, each a formula of its own.
MATH = {
    "≻": r"\succ", "≤": r"\le", "≥": r"\ge", "≪": r"\ll", "∝": r"\propto", "∞": r"\infty", "→": r"\to", "×": r"\times",
    "−": "-", "±": r"\pm", "·": r"\cdot", "√": r"\surd", "½": r"\frac12", "¼": r"\frac14",
    "⅓": r"\frac13", "⅔": r"\frac23",
    "α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "δ": r"\delta", "ε": r"\varepsilon", "η": r"\eta", "λ": r"\lambda",
    "μ": r"\mu", "ξ": r"\xi", "π": r"\pi", "ρ": r"\rho", "σ": r"\sigma", "τ": r"\tau", "χ": r"\chi", "ℓ": r"\ell",
    "Σ": r"\Sigma", "Θ": r"\Theta", "Ω": r"\Omega", "Δ": r"\Delta", "∈": r"\in", "⊗": r"\otimes",
    "‖": r"\|", "≠": r"\ne", "φ": r"\varphi", "÷": r"\div", "ᵏ": "^k",
    "≈": r"\approx", "⇔": r"\Leftrightarrow", "∀": r"\forall", "′": "'", "∑": r"\sum", "ŝ": r"\hat s",
    **{superscript: f"^{{{digit}}}" for superscript, digit in zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻", "0123456789+-", strict=True)},
    **{subscript: f"_{{{digit}}}" for subscript, digit in zip("₀₁₂₃₄₅₊₋", "012345+-", strict=True)},
    "\u0302": r"\hat{}",
}  # fmt: skip
LATEX = TEXT | {symbol: rf"\ensuremath{{{formula}}}" for symbol, formula in MATH.items()}


#: Combining accents over a letter.
ACCENTS = {
    "\u0300": r"\`", "\u0301": r"\'", "\u0302": r"\^", "\u0303": r"\~", "\u0308": r"\"", "\u030a": r"\r ",
    "\u030c": r"\v ", "\u0327": r"\c ",
}  # fmt: skip


def latex(text: str, *, outside: bool = False) -> str:
    """Plain text as LaTeX, in ASCII. ValueError for a character that it does not know how to write.

    outside  a name that somebody else chose: what is not known is written as U+2603
    """
    out = "".join(LATEX.get(character, character) for character in text)
    if outside:
        out = "".join(_letter(character) if ord(character) > 127 or character < " " else character for character in out)
    unknown = [character for character in out if ord(character) > 127]
    if unknown:
        raise ValueError(f"no LaTeX for {unknown[0]!r} (U+{ord(unknown[0]):04X}) in {text!r}")
    return out


def _letter(character: str) -> str:
    """A letter with an accent, or the number of a character."""
    letter, *accents = list(unicodedata.normalize("NFD", character))
    if len(accents) == 1 and letter.isascii() and accents[0] in ACCENTS:
        return f"{ACCENTS[accents[0]]}{{{letter}}}"
    return f"U+{ord(character):04X}"


def tex_name(text: str) -> str:
    """A name for \\csname: characters that TeX would act on, and those beyond ASCII, as numbers."""
    return "".join(c if c.isascii() and c >= " " and c not in "\\{}$&#^_~%" else _number(c) for c in text)


def _number(character: str) -> str:
    return "_" if character == "_" else f"U+{ord(character):04X}"


def one_line(text: str) -> str:
    """Text on a terminal: a line break or another unprintable character as its number."""
    return "".join(c if c.isprintable() else f"U+{ord(c):04X}" for c in text)


def mathtext(text: str) -> str:
    """Text in a figure: no formula, whatever it holds; unprintable characters as numbers."""
    return one_line(text).replace("$", r"\$")


def markdown_text(text: str) -> str:
    """Text in Markdown: no emphasis, link, code, tag or formula. Bars are a table's to escape."""
    escaped = re.sub(r"([\\`*<>\[\]$~])|(?<![A-Za-z0-9])(_)|(_)(?![A-Za-z0-9])", r"\\\1\2\3", text)
    return " ".join(escaped.split())


def code(text: str) -> str:
    """Text as Markdown code, on one line."""
    return f"`{' '.join(text.split()).replace('`', chr(39))}`"


def html(text: str) -> str:
    """Text in HTML, also inside an attribute."""
    return _html.escape(text, quote=True)


def csv(text: str) -> str:
    """Text in a cell of CSV that a spreadsheet does not take for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
