"""Files, rewards and numbers that nobody means: one sentence, and nothing left behind."""

from __future__ import annotations

import pytest

from llm_validation.commands.prompts import read_prompts
from llm_validation.preferences.files import records_of
from llm_validation.rewards.sources import checked

#: Deeper than Python's parser of JSON goes.
DEEP = "[" * 100_000


@pytest.mark.parametrize("name", ["deep.jsonl", "deep.json", "deep.csv"])
def test_brackets_without_end_are_no_json(tmp_path, name):
    path = tmp_path / name
    path.write_text(f"prompt,scores\nx,{DEEP}\n" if name.endswith("csv") else DEEP + "\n")
    with pytest.raises(ValueError, match=r"not JSON|must be JSON"):
        records_of(path)


def test_a_prompt_of_brackets_is_text(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_text(DEEP + "\n")
    assert read_prompts(path) == [(1, DEEP)]


def test_a_reward_beyond_float64_is_no_number():
    with pytest.raises(ValueError, match="big returned no numbers for 1 responses"):
        checked(lambda prompts, responses: [10**400], "big")([[1]], ["x"])
