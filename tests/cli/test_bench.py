"""What `bench` finds, on a model of a few hundred kilobytes."""

import json
from pathlib import Path

import pytest

from mistralrs_mlx.cli import main
from tests.tiny_checkpoint import write_tiny_llama


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("bench")
    model, found = write_tiny_llama(folder / "model"), folder / "found.json"
    asked = ["--prompt-tokens", "40", "--tokens", "6", "--rounds", "1", "--rows", "1,3"]
    assert main(["bench", "-m", str(model), *asked, "--json", str(found)]) == 0
    return json.loads(Path(found).read_text())


def test_it_measures_prompts_and_answers_of_the_length_that_was_asked_for(report: dict) -> None:
    alone = report["single"]
    assert abs(alone["prompt_tokens"] - 40) <= 6  # a round's number stands in front
    assert alone["tokens"] == 6
    assert alone["prefill_tokens_per_second"] > 0 < alone["decode_tokens_per_second"]


def test_it_measures_every_number_of_rows(report: dict) -> None:
    assert [batch["rows"] for batch in report["batches"]] == [1, 3]
    assert all(batch["decode_tokens_per_second"] > 0 for batch in report["batches"])


def test_a_wrong_place_for_the_report_is_told_before_anything_loads(run, runner) -> None:
    status, _, err = run("bench", "--json", "/no/such/folder/x.json")
    assert (status, runner.made) == (1, {})
    assert err == "mistralrs-mlx: /no/such/folder/x.json: No such file or directory\n"


def test_it_counts_what_a_step_costs(report: dict) -> None:
    step = report["step"]
    assert step["primitives"] > step["dispatches"] > 10
    assert step["waits"] == 1


def test_it_tells_what_loading_took(report: dict) -> None:
    assert report["load_peak_bytes"] >= report["loaded_bytes"] > 100_000


@pytest.mark.parametrize("rows", ["0", "1,x", ""])
def test_numbers_of_rows_are_numbers(run, rows: str) -> None:
    status, _, err = run("bench", "--rows", rows)
    assert status == 2
    assert "is not a number above 0" in err
