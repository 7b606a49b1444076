"""The notebooks run from top to bottom, and hold what they showed when they last did."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.run_notebooks import digest_of
from tests.tidy.source import ROOT

NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
MOST = 300_000  # bytes, figures included
RUN = """
import sys
from pathlib import Path

import nbformat

from scripts.run_notebooks import run

nbformat.write(run(Path(sys.argv[1])), sys.argv[2])
"""
each_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(notebook: Path) -> list[dict[str, Any]]:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def outputs(notebook: Path) -> list[dict[str, Any]]:
    return [output for cell in code_cells(notebook) for output in cell["outputs"]]


def figures(notebook: Path) -> list[dict[str, Any]]:
    return [each for each in outputs(notebook) if "image/png" in each.get("data", {})]


def said(notebook: Path) -> str:
    """All that is shown as a text."""
    return re.sub(r'"image/\w+": "[^"]*"', "", json.dumps(outputs(notebook)))


@each_notebook
def test_a_notebook_runs_on_the_demo_model(notebook: Path, demo_gguf: Path, tmp_path: Path) -> None:
    ran = tmp_path / notebook.name
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(notebook), str(ran)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "IPYTHONDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert "The capital of" in said(ran)
    assert len(figures(ran)) == len(figures(notebook))


@each_notebook
def test_a_notebook_holds_the_outputs_of_one_run_without_an_error(notebook: Path) -> None:
    counts = [cell["execution_count"] for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))
    kinds = {output["output_type"] for output in outputs(notebook)}
    assert kinds <= {"display_data", "execute_result", "stream"}
    assert not [each for each in outputs(notebook) if each.get("name") == "stderr"]


@each_notebook
def test_a_notebook_shows_answers_and_figures_and_is_small(notebook: Path) -> None:
    assert "The capital of France is Paris." in said(notebook)
    assert len(figures(notebook)) >= 2
    assert notebook.stat().st_size < MOST


@each_notebook
def test_a_notebook_was_run_as_it_stands(notebook: Path) -> None:
    stored = json.loads(notebook.read_text(encoding="utf-8"))["metadata"]["ran"]
    sources = ("".join(cell["source"]) for cell in code_cells(notebook))
    assert stored == digest_of(sources), "run: python -m scripts.run_notebooks"


def test_the_index_lists_every_notebook() -> None:
    index = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    assert NOTEBOOKS
    assert not [path.name for path in NOTEBOOKS if path.name not in index]
