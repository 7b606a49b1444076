"""Thousands of requests made from the description, right and wrong, get what it promises."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mistralrs_mlx import Runner, Which
from mistralrs_mlx.server.described import OPERATIONS
from tests.tiny_checkpoint import write_tiny_llama

from .conftest import TEMPLATE, live

PHASES = "examples,coverage,fuzzing,stateful"
# A right body may still ask for what this model has not; and no key is set here.
UNCHECKED = "positive_data_acceptance,ignored_auth"


@pytest.fixture
def brief(tmp_path: Path) -> Iterator[str]:
    """The address of a model whose answers end soon, whatever is asked of it."""
    folder = write_tiny_llama(tmp_path / "brief", max_position_embeddings=40)
    which = Which.Plain(model_id=str(folder))
    with Runner(which, max_seqs=8, chat_template=TEMPLATE) as runner, live(runner) as url:
        yield url


def test_the_server_does_what_it_describes(brief: str, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--no-color", "run", f"{brief}/openapi.json"),
        *("--seed", "1", "--max-examples", "10", "--phases", PHASES, "--continue-on-failure"),
        *("--exclude-checks", UNCHECKED, "--warnings", "off"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert f"Tested: {len(OPERATIONS)}" in done.stdout, done.stdout[-3000:]
