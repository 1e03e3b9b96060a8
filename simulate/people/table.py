"""A file as a table of text: compressed or not, in any encoding and with any separator that can be told or is named.

What cannot be told for certain is refused in one sentence that names the option which settles it. Cells are text; what
they mean is `simulate.people.readers`' business.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import re
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from theory.validate import Array, check_flag

BYTE_ORDER_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe\0\0", "utf-32"), (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"),
)  # fmt: skip
#: How files begin that are no text.
FORMATS = {
    rb"PK\x03\x04": "an archive or a spreadsheet (.zip, .xlsx)", rb"\xd0\xcf\x11\xe0": "an old spreadsheet (.xls)",
    rb"PAR1[\0-\x1f]": "a Parquet file", rb"ARROW1\0": "an Arrow file", rb"SQLite format 3\0": "a database",
    rb"BZh[1-9]1AY": "compressed (.bz2)", rb"\xfd7zXZ": "compressed (.xz)", rb"\x28\xb5\x2f\xfd": "compressed (.zst)",
    rb"7z\xbc\xaf": "an archive (.7z)", rb"\x89HDF": "an HDF5 file", rb"\x93NUMPY": "a numpy array", rb"%PDF-": "a PDF",
    rb"\$FL[23]": "an SPSS file", rb"<stata_dta>": "a Stata file", rb"(RDX|RDA)\d\n|X\n\0": "an R file",
    rb"\s*(?i:<!doctype|<html|<\?xml)": "a web page or XML", rb'\s*(\{"|\[\s*[\[{])': "JSON",
}  # fmt: skip
#: What tables that are not utf-8 are often in: of Windows, of spreadsheets on a Mac.
OFTEN = ("latin-1", "cp1252", "mac_roman")
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|"}
#: Those of tables without one of the above in their first line.
RARER = {"colons": "::", "space": " "}
NAMES_OF = {mark: name for name, mark in (SEPARATORS | RARER).items()}
#: Names of columns beside which numbers in order are names of items.
LABEL = re.compile(
    r"(?i:|#|no|nr|row|index|(.*[_ ])?(id|user|rater|voter|respondent|participant|judge|name)|.*[a-z]id)"
)
#: Lines that must agree on a separator.
LOOKED_AT = 50


@dataclass(frozen=True, eq=False)
class Table:
    """Cells of a file, stripped text: one column per name of the header, one row per line that is not blank.

    lines  (rows,) the line of the file that each row begins on;  notes  how the file was read
    """

    path: Path
    cells: pd.DataFrame
    lines: NDArray[np.int64]
    notes: tuple[str, ...]

    @property
    def header(self) -> list[str]:
        return list(self.cells.columns)

    def place(self, row: int, column: str | None = None) -> str:
        """Where in the file a row stands, or a cell of it: what a refusal begins with."""
        line = f"{self.path}, line {self.lines[row]}"
        return line if column is None else f"{line}, column {shown(column)}"

    def require(self, names: Sequence[str]) -> None:
        """ValueError for a column that is not there, or that is named twice."""
        for name in names:
            if name not in self.header:
                raise ValueError(f"{self.path} has no column {shown(name)}; its columns are {listed(self.header)}")
        twice = [name for name in names if list(names).count(name) > 1]
        if twice:
            raise ValueError(f"{self.path}: column {shown(twice[0])} is named twice")

    def require_filled(self, names: Sequence[str]) -> None:
        """ValueError for an empty cell of columns that say who or what: several of them are not one user or item."""
        for name in names:
            blank = self.cells[name].eq("").to_numpy()
            if blank.any():
                raise ValueError(f"{self.place(int(blank.argmax()), name)}: an empty cell says neither who nor what")

    def marked(self, name: str, na: Sequence[str]) -> NDArray[np.bool_]:
        """Which cells of a column are one of the marks `na`, as text or as a number: 99 is 99.0 too."""
        text = self.cells[name]
        marks = pd.to_numeric(pd.Series(list(na), dtype=str), errors="coerce").dropna()
        return np.asarray(text.isin(list(na)) | pd.to_numeric(text, errors="coerce").isin(marks), dtype=bool)

    def numbers(self, names: Sequence[str], na: Sequence[str], *, strict: bool = True) -> Array:
        """(rows, names), NaN for empty cells and those in `na`; strict: ValueError for one that is no finite number."""
        values = np.full((len(self.lines), len(names)), np.nan)
        for k, name in enumerate(names):
            text = self.cells[name].str.replace("\u2212", "-", regex=False)  # a printed minus
            filled = ~(text.eq("").to_numpy() | self.marked(name, na))
            found = pd.to_numeric(text.where(filled, None), errors="coerce").to_numpy(dtype=np.float64)
            bad = filled & ~np.isfinite(found)
            if strict and bad.any():
                row = int(bad.argmax())
                raise ValueError(
                    f"{self.place(row, name)}: {shown(text.iloc[row])} is not a finite number; a mark of a missing "
                    "value is named by --na"
                )
            values[:, k] = np.where(bad, np.nan, found)
        return values


def check_text(name: str, value: str | None) -> None:
    """ValueError names an option that is neither text nor None."""
    if not (value is None or isinstance(value, str)):
        raise ValueError(f"{name} = {value!r} must be text")


def shown(text: str) -> str:
    """A text from a file as a message quotes it: of one line, and not longer than forty characters."""
    return repr(text if len(text) <= 40 else text[:37] + "…")


def alike(what: str, names: Sequence[str]) -> tuple[str, ...]:
    """A note on names that differ in nothing but case, blanks, marks that do not print, or how a number is written."""
    seen: dict[object, str] = {}
    pairs = []
    for name in names:
        plain = unicodedata.normalize("NFKC", str(name)).casefold()
        key: object = "".join(c for c in plain if unicodedata.category(c) != "Cf" and not c.isspace())
        with contextlib.suppress(ValueError):
            key = float(str(key))
        if seen.setdefault(key, str(name)) != str(name):
            pairs.append((seen[key], str(name)))
    first = f"{len(pairs)} {what} are called almost like another, the first {shown(pairs[0][0])} and " if pairs else ""
    return (f"{first}{shown(pairs[0][1])}: taken for two",) if pairs else ()


def listed(names: Sequence[str]) -> str:
    """Names, or the first of them."""
    return ", ".join(map(shown, names[:12])) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def read_text(path: Path, encoding: str | None) -> tuple[str, str]:
    """The text of a file, and its encoding. FileNotFoundError; ValueError for a broken .gz or another encoding."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is a folder" if path.is_dir() else f"no ratings file {path}")
    raw = path.read_bytes()
    if path.suffix == ".gz" or raw[:2] == b"\x1f\x8b":
        raw = _decompressed(raw, path)
    for begin, what in FORMATS.items():
        if re.match(begin, raw):
            raise ValueError(f"{path} is {what}: save its table as .csv")
    marked = [name for mark, name in BYTE_ORDER_MARKS if raw.startswith(mark)]
    used = encoding or (marked[0] if marked else "utf-8")
    if not (encoding or marked) and b"\0" in raw:
        line = raw[: raw.index(b"\0")].count(b"\n") + 1
        raise ValueError(f"{path}, line {line}: a zero byte; name its encoding, --encoding utf-16-le perhaps")
    try:
        text = raw.decode(used)
    except LookupError:
        raise ValueError(f"there is no encoding {used!r}") from None
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path}, line {line}: byte 0x{raw[error.start]:02x} is not {used}; name the encoding: "
            + ", ".join(f"--encoding {name} reads {text!r}" for name, text in _readings(raw, error.start).items())
        ) from None
    except UnicodeError as error:
        raise ValueError(f"{path} cannot be read with the encoding {used!r}: {error}") from None
    text = text.removeprefix("\ufeff")  # left there where the encoding was named
    return text.replace("\r\n", "\n").replace("\r", "\n"), used.removesuffix("-sig")


def _decompressed(raw: bytes, path: Path) -> bytes:
    try:
        return gzip.decompress(raw)
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{path} is a truncated or corrupt .gz file: {error}") from None


def _readings(raw: bytes, place: int) -> dict[str, str]:
    """What the word at a place would be in the encodings that tables are often in: which is right, a reader sees."""
    starts = [raw.rfind(mark, 0, place) + 1 for mark in (b",", b";", b"\t", b" ", b"\n")]
    word = re.split(rb"[,;\t\s]", raw[max(starts) : place + 40])[0]
    return {name: word.decode(name, "replace") for name in OFTEN}


def read_table(path: Path, *, encoding: str | None, separator: str | None, header: bool | None) -> Table:
    """A file of separated values; blank lines are none, and lines above the header that begin with "# " are remarks.

    encoding, separator  None: told from the file
    header               is line 1 one? None: yes, unless it holds numbers alone, which is refused
    """
    check_text("encoding", encoding)
    check_text("separator", separator)
    if header is not None:
        check_flag("header", header)
    text, used = read_text(path, encoding)
    if (told := re.match(r"sep=(.)\n", text)) and separator is None:  # a spreadsheet's own first line
        separator, text = told[1], "\n" + text[told.end() :]
    mark = _separator(text, path) if separator is None else (SEPARATORS | RARER).get(separator, separator)
    cells, lines = rows_of(text, mark, path)
    first = cells.iloc[0].tolist()
    if header is None:
        _refuse_numbers(path, cells, int(lines[0]))
    notes = [f"encoding {used}, separator {NAMES_OF.get(mark, mark)}"]
    if header is False:
        names = [str(k + 1) for k in range(len(first))]
        notes.append("no header: columns are numbered from 1")
    else:
        notes.append(f"header in line {lines[0]}")
        names, cells, lines = first, cells.iloc[1:], lines[1:]
    empty = [k for k, name in enumerate(names) if not name and cells.iloc[:, k].eq("").all()]
    names, cells = [n for k, n in enumerate(names) if k not in empty], cells.drop(columns=cells.columns[empty])
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"{path}: two columns have the same name {shown(twice[0])}")
    if not len(cells):
        raise ValueError(f"{path} has a header but no users")
    cells = cells.reset_index(drop=True).set_axis(names, axis=1)
    if mark != ",":
        cells, notes = _decimal_point(path, cells, lines, notes)
    return Table(path, cells, lines, tuple(notes))


def _refuse_numbers(path: Path, cells: pd.DataFrame, line: int) -> None:
    """ValueError for a first line that may be no header: numbers alone, or numbers like those below them."""
    there = cells.iloc[:1000].apply(
        lambda column: pd.to_numeric(column.str.replace(",", ".", regex=False), errors="coerce")
    )
    numbers, filled = there.iloc[0].notna(), cells.iloc[0].ne("")
    if not numbers.any():
        return
    if (numbers | ~filled).all():
        raise ValueError(f"{path}, line {line} holds numbers alone: say whether it is a header, --header yes or no")
    own, below = there.iloc[0][numbers].to_numpy(), there.iloc[1:].loc[:, numbers].to_numpy(dtype=np.float64)
    named = any(LABEL.fullmatch(name) for name in cells.iloc[0][~numbers]) and (np.diff(own) > 0).all()
    if not named and not np.isnan(below).all() and np.nanmin(below) <= own.min() and own.max() <= np.nanmax(below):
        raise ValueError(f"{path}, line {line} holds {shown(str(cells.iloc[0][numbers].iloc[0]))}, a number like those "
                         "below it: say whether it is a header, --header yes or no")  # fmt: skip


def _separator(text: str, path: Path) -> str:
    """Of the separators in the first line, the one by which the first lines have equally many fields."""
    lines = [line for line in text.split("\n") if line.strip() and not line.startswith("# ")][:LOOKED_AT]
    if not lines:
        raise ValueError(f"{path} is empty")
    there = [mark for mark in SEPARATORS.values() if mark in lines[0]]
    if not there and "::" in lines[0]:
        return "::"
    if not there and " " in lines[0].strip() and all(len(line.split()) == len(lines[0].split()) for line in lines):
        return " "
    even = [mark for mark in there if len({line.count(mark) for line in lines}) == 1]
    if len(even) > 1 or (len(there) > 1 and not even):
        names = " or ".join(NAMES_OF[mark] for mark in even or there)
        raise ValueError(f"{path} may be separated by {names}: name it, --separator {NAMES_OF[(even or there)[0]]}")
    return (even or there or [","])[0]


def rows_of(text: str, mark: str, path: Path, *, verbatim: bool = False) -> tuple[pd.DataFrame, NDArray[np.int64]]:
    """All rows as text, and the lines they begin on; a row with too many or too few fields is named by its line.

    verbatim  keep the blanks around a cell
    """
    if mark not in NAMES_OF and (len(mark) != 1 or mark in '"\n\r\0'):
        names = ", ".join(NAMES_OF.values())
        raise ValueError(f"separator {mark!r} must be one character, of no quote and no line's end, or {names}")
    text, mark = (text, mark) if len(mark) == 1 else (text.replace(mark, "\x1f"), "\x1f")
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))
    reader = csv.reader(io.StringIO(text), delimiter=mark, skipinitialspace=not verbatim, strict=True)
    rows, lines = list[list[str]](), list[int]()
    for begins, row in _begun(reader, path):
        blank = not row or (len(row) == 1 and not row[0].strip() and not verbatim)
        if blank or (not rows and row[0].startswith("# ")):  # or a remark above the header
            continue
        rows.append(row if verbatim else [cell.strip() for cell in row])
        lines.append(begins)
        if len(row) != len(rows[0]):
            many = "fewer" if len(row) < len(rows[0]) else "more"
            raise ValueError(f"{path}, line {begins}: {many} fields than the header ({len(row)}, {len(rows[0])})")
    if not rows:
        raise ValueError(f"{path} is empty")
    return pd.DataFrame(rows, dtype=str), np.array(lines, dtype=np.int64)


def _begun(reader: Any, path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a csv.reader, each with the line that it begins on; ValueError names the one that breaks off."""
    begins = 1
    try:
        for row in reader:
            yield begins, row
            begins = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"{path}, line {begins}: {error}") from None


def _decimal_point(
    path: Path, cells: pd.DataFrame, lines: NDArray[np.int64], notes: list[str]
) -> tuple[pd.DataFrame, list[str]]:
    """Cells like 3,5 as 3.5 where no cell is like 3.5; ValueError where both stand in one file."""

    def like(pattern: str) -> NDArray[np.bool_]:
        return cells.apply(lambda column: column.str.fullmatch(pattern)).to_numpy(dtype=bool)

    # of columns of numbers alone: a text like 1,5 or 2.0 elsewhere is a name
    filled, numbers = like(".+"), like(r"[+-]?\d+([.,]\d+)?")
    columns = 2 * numbers.sum(axis=0) > filled.sum(axis=0)
    comma, point = like(r"[+-]?\d+,\d+") & columns, like(r"[+-]?\d+\.\d+") & columns
    if not comma.any():
        return cells, notes
    if point.any():
        rows = [int(lines[int(found.any(axis=1).argmax())]) for found in (comma, point)]
        raise ValueError(f"{path}: a decimal comma in line {rows[0]} and a decimal point in line {rows[1]}")
    if not (comma & ~like(r"[+-]?[1-9]\d{0,2},\d{3}")).any():
        row, column = np.argwhere(comma)[0]
        raise ValueError(f"{path}, line {lines[row]}, column {shown(cells.columns[column])}: "
                         f"{shown(cells.iloc[row, column])} may be a number in thousands or a decimal comma: write it "
                         "without the comma, or with a decimal point")  # fmt: skip
    points = cells.apply(lambda column: column.str.replace(",", ".", regex=False))
    return cells.where(~comma, points), [*notes, "decimal commas"]
