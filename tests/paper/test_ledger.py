"""The ledger: columns joined, verdicts, and that a broken formula is caught."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from llm_validation.claims.table import llm_checks
from llm_validation.recorded import recorded_rows
from paper import latex, markdown
from paper.__main__ import main
from paper.ledger import as_table, entries, lines, load
from paper.power import powers, report, sharpness
from simulate.experiments import EXPERIMENTS, MEASUREMENTS
from simulate.montecarlo import generator
from simulate.profiles import PROFILES
from simulate.rows.store import Results, Row
from tests.oracles.rows import made_row
from theory.claim import Claim, parse_setting, setting_key
from theory.claims import CLAIMS, find_claim
from theory.distortion.factors import borda_factor, linear_factor


@cache
def measured(claim_id: str, check_name: str, settings: int) -> tuple[Row, ...]:
    """Rows of one check, really measured (profile smoke does enough for the exact ones)."""
    found = []
    for setting in find_claim(claim_id).check(check_name).settings[:settings]:
        key, name = f"{claim_id}.{check_name}", setting_key(setting)
        e = EXPERIMENTS[key](**setting, rng=generator(0, key, name), profile=PROFILES["smoke"])
        found.append(made_row(claim_id, check_name, name, e.value, e.stderr))
    return tuple(found)


def verdicts(claim: Claim, rows: Sequence[Row]) -> set[str]:
    return {e.simulation.verdict for e in entries([claim], rows, []) if e.simulation.seeds > 0}


def test_every_check_predicts_a_number_at_every_setting(predictions):
    assert [(check.name, setting) for (check, setting), value in predictions.items() if math.isnan(value)] == []


def test_without_rows_nothing_passes(ledger_without_rows):
    ledger = ledger_without_rows
    assert {entry.simulation.verdict for entry in ledger} == {"not run"}
    assert {(line.simulation, line.trained["llm"], line.trained["gpu"], line.verdict) for line in lines(ledger)} == {
        ("not run",) * 4
    }


def test_one_missing_setting_is_not_a_pass():
    rows = list(measured("D3", "attained", 5)) + list(measured("D3", "bound", 5))
    (line,) = lines(entries([find_claim("D3")], rows, []))
    assert line.verdict == "agrees"
    (line,) = lines(entries([find_claim("D3")], rows[1:], []))
    assert line.verdict == "not run"


def off_by(change: float, claim_id: str, formula: Callable[..., float]) -> Claim:
    """A claim whose checks take that formula times `change` for their prediction."""
    claim = find_claim(claim_id)
    wrong = lambda bt_beta: change * formula(bt_beta)
    checks = [replace(check, theory=wrong) if check.theory is formula else check for check in claim.checks]
    return replace(claim, checks=tuple(checks))


@pytest.mark.parametrize("change", [1.01, 0.99])
@pytest.mark.parametrize(
    ("formula", "claim_id", "check", "count"),
    [(linear_factor, "D3", "attained", 5), (borda_factor, "D4", "certified", 5), (borda_factor, "D6", "attained", 5)],
)
def test_a_factor_off_by_one_per_cent_is_caught(change, formula, claim_id, check, count):
    rows = measured(claim_id, check, count)
    assert verdicts(find_claim(claim_id), rows) == {"agrees"}
    wrong = off_by(change, claim_id, formula)
    assert verdicts(wrong, rows) == {"disagrees"}
    (line,) = lines(entries([wrong], rows, []))
    assert line.verdict == "disagrees"


def test_a_violated_bound_prints_its_witness():
    rows = [made_row("D3", "bound", "bt_beta=2", 9.9, witness="witness")]
    ledger = entries([find_claim("D3")], rows, [])
    text = markdown.details(lines(ledger))
    assert "**disagrees**" in text
    assert "witness of bound at bt_beta=2: `witness`" in text


def test_a_part_that_nothing_measures_keeps_a_line_from_agreeing():
    claim = find_claim("D7")
    rows = [
        made_row("D7", check.name, setting, check.predict(setting))
        for check in claim.checks
        for setting in check.settings
        if check.kind != "cited"
    ]
    (line,) = lines(entries([claim], rows))
    assert (line.simulation, line.verdict) == ("agrees", "cited")
    assert {entry.verdict for entry in entries([claim], rows) if entry.check.name == "tournament"} == {"cited"}


def test_every_claim_has_a_sharp_check_or_says_why_not(recorded_ledger):
    """On the recorded rows of simulation and the small model; a claim that says why must not be sharp after all."""
    ledger = [replace(entry, trained={"llm": entry.trained["llm"]}) for entry in recorded_ledger]
    found = sharpness(ledger)
    assert [name for name, word in found.items() if word == "not sharp"] == []
    sharp = {power.claim.id for power in powers(ledger) if power.sharp}
    assert sorted(claim.id for claim in CLAIMS if claim.not_sharp and claim.id in sharp) == []
    shares = {f"{power.claim.id}.{power.check.name}": power.shares for power in powers(ledger)}
    assert shares["D3.attained"] == (1.0, 1.0, 1.0)
    assert shares["D9.on_I6"] == (0.0, 0.0, 0.0)  # a bound with room
    assert shares["D9.unbeaten"][1:] == (1.0, 1.0)
    assert "| D9.unbeaten | equality | 9 | 100 % | 100 % | 100 % |" in report(ledger)
    assert "- D17: not sharp: bounds over all populations" in report(ledger)


def test_llm_rows_count_when_there_are_some():
    rows = [*measured("D3", "attained", 5), *measured("D3", "bound", 5)]
    (line,) = lines(entries([find_claim("D3")], rows, [made_row("D3", "attained", "bt_beta=2", 9.0)]))
    assert (line.simulation, line.trained["llm"], line.verdict) == ("agrees", "disagrees", "disagrees")


def llm_rows(claim_id: str, value: float) -> list[Row]:
    """The same value for every declared setting of a claim's language-model checks."""
    return [
        made_row(claim_id, check.name, setting, value) for check in llm_checks(claim_id) for setting in check.settings
    ]


def test_language_model_checks_are_judged_in_their_own_columns():
    claim = find_claim("R8")
    rows = llm_rows("R8", 0.001)
    (line,) = lines(entries([claim], [], rows))
    assert (line.simulation, line.trained["llm"], line.trained["gpu"], line.verdict) == (
        "not run",
        "agrees",
        "not run",
        "not run",
    )
    (line,) = lines(entries([claim], [], rows[1:]))
    assert line.trained["llm"] == "inconclusive"  # one declared setting has no number
    (line,) = lines(entries([claim], [], rows, llm_rows("R8", 0.9)))
    assert (line.trained["llm"], line.trained["gpu"], line.verdict) == ("agrees", "disagrees", "disagrees")
    assert {entry.simulation.seeds for entry in entries([claim], [], rows) if entry.check in llm_checks(claim.id)} == {
        -1
    }


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch):
    """Writes rows of R8, all of one value, to a folder of llm_validation/results; the ledger is of R8 alone."""
    monkeypatch.setattr("paper.ledger.CLAIMS", (find_claim("R8"),))

    def record(folder: str, value: float) -> Path:
        Results(tmp_path / "llm_validation" / "results" / folder).add(llm_rows("R8", value), "stamp", {})
        return tmp_path

    return record


def test_both_sizes_on_a_gpu_have_a_column(recorded):
    for folder, value in (("cpu", 0.001), ("gpu", 0.002), ("gpu-base", 0.9)):
        root = recorded(folder, value)
    ledger = load("cpu", root)
    (line,) = lines(ledger)
    assert line.trained == {"llm": "agrees", "gpu": "agrees", "gpu_base": "disagrees", "smollm2": "not run"}
    table = as_table(ledger).query("check == 'trained'")
    for model, value in (("llm", 0.001), ("gpu", 0.002), ("gpu_base", 0.9)):
        assert set(table[model]) == {value}
        assert set(table[f"{model}_seeds"]) == {1}
    assert set(table["gpu_base_verdict"]) == {"disagrees"}
    assert "| agrees | agrees | disagrees |" in markdown.overview([line], ledger)
    assert "| 0.001 | 0.002 | 0.9 | disagrees |" in markdown.details([line])
    numbers = latex.latex_numbers(ledger)
    assert r"ledger@R8.trained@method=ddro@gpu_base\endcsname{0.9}" in numbers
    assert rf"ledger@count@gpu_base@disagrees\endcsname{{{len(table)}}}" in numbers
    assert "0.001; GPU, small: 0.002; GPU, base: 0.9 & disagrees" in latex.latex_language_model(ledger)
    assert r"$\bullet$ & $\bullet$ & $\times$" in latex.latex_ledger([line])
    # of profile gpu these are all the models there are
    (line,) = lines(load("gpu", root))
    assert line.trained == {"llm": "not run", "gpu": "agrees", "gpu_base": "disagrees", "smollm2": "not run"}


def test_rows_measured_here_stand_in_place_of_all_recorded_seeds(recorded, tmp_path):
    """One seed at other settings of the run is not averaged with two that were recorded."""
    root = recorded("reference-gpu", 0.001)
    folder = root / "llm_validation" / "results" / "reference-gpu"
    Results(folder).add([replace(row, seed=seed) for row in llm_rows("R8", 0.001) for seed in (1, 2)], "stamp", {})
    assert {row.seed for row in recorded_rows("gpu", "cpu", root)} == {0, 1, 2}
    one = llm_rows("R8", 0.9)[:1]
    Results(root / "llm_validation" / "results" / "gpu").add(one, "stamp", {})
    found = {(row.setting, row.seed): row.estimate for row in recorded_rows("gpu", "cpu", root)}
    assert [(seed, value) for (setting, seed), value in found.items() if setting == one[0].setting] == [(0, 0.9)]
    assert {value for (setting, _), value in found.items() if setting != one[0].setting} == {0.001}


def test_a_setting_of_one_model_asks_nothing_of_the_others():
    (check,) = [check for check in llm_checks("B1") if check.name == "llm_win_rate"]
    own = [made_row("B1", check.name, setting, 0.0) for setting in check.settings]
    for further, verdicts in ((0.0, ("agrees", "agrees")), (0.5, ("agrees", "disagrees"))):
        (line,) = lines(entries([find_claim("B1")], [], own, [*own, made_row("B1", check.name, "n=1024", further)]))
        assert (line.trained["llm"], line.trained["gpu"]) == verdicts


def test_a_size_that_was_not_run_does_not_count_and_its_command_is_named(recorded):
    recorded("cpu", 0.001)
    ledger = load("cpu", recorded("gpu-base", 0.002))
    (line,) = lines(ledger)
    assert line.trained == {"llm": "agrees", "gpu": "not run", "gpu_base": "agrees", "smollm2": "not run"}
    assert {entry.verdict for entry in ledger if entry.check in llm_checks(entry.claim.id)} == {"agrees"}
    text = markdown.overview([line], ledger)
    assert "| claim | title | simulation | LLM | LLM (GPU, base) | verdict |" in text  # no column without a row
    assert "LLM (GPU, small), filled by `make gpu` or `python -m llm_validation --profile gpu`;" in text
    assert "| 0.001 | 0.002 | agrees |" in markdown.details([line])
    assert "GPU, small" not in latex.latex_language_model(ledger) + latex.latex_ledger([line])


def test_more_columns_than_models_are_refused():
    with pytest.raises(ValueError, match="5 lists of rows for 4 models: llm, gpu, gpu_base, smollm2"):
        entries([find_claim("R8")], [], [], [], [], [], [])


def test_every_claim_has_the_language_model_checks_asked_of_it():
    topics = {"D": (3, 4, 5, 8, 9, 11, 12, 13, 15, 17), "P": (4, 5, 6, 8, 9, 10, 11, 12, 13)}
    topics |= {"V": (1, 2, 3, 4, 5, 6, 7, 10, 11, 12), "R": (1, 2, 3, 4, 5, 8)}
    topics |= {"A": (1, 2, 3, 4, 5, 6), "B": tuple(range(1, 11))}
    for letter, numbers in topics.items():
        for number in numbers:
            claim = find_claim(f"{letter}{number}")
            assert llm_checks(claim.id), claim.id
            assert not {check.name for check in claim.checks} & {check.name for check in llm_checks(claim.id)}


def test_users_files_are_judged_at_their_own_settings():
    rows = [
        made_row("D17", "maximal_lottery", "population=mine.csv;items=3;bt_beta=7", 50.0),
        made_row("D17", "plurality", "population=mine.csv;items=3;bt_beta=7", 50.0),  # no bound: measured, not judged
    ]
    extra = [e for e in entries([find_claim("D17")], rows, []) if "mine.csv" in e.setting]
    assert [(e.check.name, e.simulation.verdict) for e in extra] == [("maximal_lottery", "disagrees")]
    assert extra[0].predicted == linear_factor(7.0)


def test_generated_files(tmp_path: Path, capsys, monkeypatch, recorded_ledger):
    monkeypatch.setattr("paper.__main__.load", lambda profile: recorded_ledger)
    assert main(["--profile", "smoke", "--out", str(tmp_path)]) == 0
    written = {path.name for path in tmp_path.iterdir()}
    assert {path.stem for path in (tmp_path / "ledger").iterdir()} == {claim.topic for claim in CLAIMS}
    assert {"ledger.csv", "ledger.md", "ledger.tex", "numbers.tex", "sizes.md", "sizes.tex"} <= written
    with (tmp_path / "ledger.csv").open(newline="", encoding="utf-8") as stream:
        entries_written = len(list(csv.DictReader(stream)))
    assert entries_written >= sum(len(check.settings) for claim in CLAIMS for check in claim.checks)
    assert (tmp_path / "ledger.tex").read_text(encoding="utf-8").isascii()
    assert (tmp_path / "numbers.tex").read_text(encoding="utf-8").isascii()
    assert (tmp_path / "sizes.tex").read_text(encoding="utf-8").isascii()
    *claims, columns, _ = capsys.readouterr().out.splitlines()
    assert len(claims) == len(CLAIMS)
    assert "SmolLM2-135M: " in claims[0]
    assert "GPU, base" not in claims[0]  # a column without a row is a sentence
    assert "Not run yet, hence not printed: LLM (GPU, base), filled by" in columns
    assert main(["D8"]) == 0
    assert "exponential" in capsys.readouterr().out
    assert main(["D99"]) == 2


def test_ledger_and_page_come_from_one_ledger(tmp_path: Path, capsys, monkeypatch, recorded_ledger):
    loaded, pages = [], []
    monkeypatch.setattr("paper.__main__.load", lambda profile: loaded.append(profile) or recorded_ledger)
    monkeypatch.setattr("paper.__main__.render", lambda out, lessons: ["no lessons today"])
    monkeypatch.setattr("paper.__main__.write_page", lambda *words: pages.append(words) or "here")
    assert main(["--page", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert printed.out.endswith(f"written to {tmp_path}\nThe page: here\n")
    assert "paper: no lessons today\n" in printed.err
    assert len(loaded) == 1
    assert pages == [(recorded_ledger, loaded[0], tmp_path / "page")]
    assert (tmp_path / "ledger.md").is_file()
    assert main(["D4", "--page"]) == 2
    assert "--page is for the whole ledger, not for D4" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["power", "D4"], ["Z9", "page"], ["spending", "power"]], ids=" ".join)
def test_what_takes_no_claims_stands_alone(words, capsys):
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("paper: ")
    assert line.endswith(f"must stand alone, not in {' '.join(words)}")


def test_latex_knows_every_character_of_the_claims():
    for claim in CLAIMS:
        assert latex.latex(claim.statement + claim.source).isascii()
    assert latex.latex("β ≤ 50 %_") == r"\ensuremath{\beta} \ensuremath{\le} 50 \%\_"
    with pytest.raises(ValueError, match=r"U\+2603"):
        latex.latex("☃")


def test_numbers_for_tables():
    assert latex.number(math.nan) == "—"
    assert latex.number(math.inf) == "∞"
    assert latex.number(220.264583) == "220.265"
    assert parse_setting("bt_beta=10")["bt_beta"] == 10


@pytest.mark.parametrize("key", MEASUREMENTS)
def test_every_measurement_runs(key):
    function, settings = MEASUREMENTS[key]
    e = function(**settings[0], rng=generator(0, key), profile=PROFILES["smoke"])
    assert e.value >= 1 - 1e-9  # a policy cannot beat the best one
    assert e.stderr >= 0


def test_no_table_of_the_ledger_breaks(recorded_ledger):
    """Names from outside and bars of the mathematics: every row has as many cells as its head."""
    rows = [made_row("D17", "maximal_lottery", "population=a|b.csv;items=3;bt_beta=7", 50.0)]
    others = [entry for entry in recorded_ledger if entry.claim.id != "D17"]
    ledger = [*others, *entries([find_claim("D17")], rows, llm_rows("D17", 0.001))]
    claims = lines(ledger)
    texts = [markdown.overview(claims, ledger), markdown.details(claims, title="all")]
    for text in texts:
        widths: list[int] = []
        for text_line in text.splitlines():
            if not text_line.startswith("|"):
                widths = []
                continue
            widths.append(len(re.findall(r"(?<!\\)\|", text_line)))
            assert len(set(widths)) == 1, text_line
    assert r"a\|b.csv" in texts[1]
    assert len(texts[0].splitlines()) < len(CLAIMS) + 12  # one screen: a row per claim
    for line in claims:
        assert f"](ledger/{line.claim.topic}.md#{line.claim.id.lower()})" in texts[0]
        assert f"\n## {line.claim.id}\n" in texts[1]


def test_z_stands_beside_a_verdict_and_agreement_by_resolution_alone_is_marked():
    claim = find_claim("B3")  # within 3e-3
    target = claim.check("normal").predict({"n": 2})
    estimates = {2: target + 2e-3, 4: 9.0}
    ledger = entries([claim], [made_row("B3", "normal", {"n": n}, x, 1e-4, n=100) for n, x in estimates.items()])
    near, far = ledger[:2]
    assert (near.simulation.verdict, far.simulation.verdict) == ("agrees", "disagrees")
    assert markdown.measured(near, near.simulation).endswith("(z 20)†")
    assert markdown.measured(far, far.simulation).endswith(")")
    text = markdown.details(lines(ledger))
    assert "Resolution 0.003: 4·10⁵ draws of Best-of-N, or 2·10⁷ rewards." in text
    bound = replace(near, check=replace(near.check, kind="lower bound"))  # above a lower bound is no near miss
    assert not markdown.measured(bound, bound.simulation).endswith("†")
    assert list(as_table(ledger)["simulation_z"][:1]) == [pytest.approx(20.0)]


@pytest.mark.parametrize("words", [[], ["page"]])
def test_a_folder_that_cannot_be_written_is_found_before_anything_is_computed(words, tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("paper.__main__.load", lambda profile: pytest.fail("computed"))
    assert main([*words, "--out", str(tmp_path / "file" / "tables")]) == 2
    assert "Not a directory" in capsys.readouterr().err
    full = OSError(28, "No space left on device")
    monkeypatch.setattr("paper.__main__.load", lambda profile: (_ for _ in ()).throw(full))
    assert main([*words, "--out", str(tmp_path / "tables")]) == 2
    assert capsys.readouterr().err.endswith("paper: No space left on device\n")
