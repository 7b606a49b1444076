"""Run the notebooks in examples/notebooks and store what they show.

    python -m scripts.run_notebooks

Nothing else of this machine, such as the times of cells or the user's folder, is kept.
"""

import hashlib
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

__all__ = ["digest_of", "run"]

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples" / "notebooks").glob("*.ipynb"))
PATIENCE = 300  # seconds for one cell
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def main() -> None:
    for path in NOTEBOOKS:
        nbformat.write(run(path), path)
        print(f"{path.name}: {path.stat().st_size} bytes", file=sys.stderr)


def run(path: Path) -> Any:
    """The notebook with its outputs. Raises if a cell fails."""
    notebook = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": str(path.parent)}}
    NotebookClient(notebook, timeout=PATIENCE, resources=place, record_timing=False).execute()
    sources = (cell.source for cell in notebook.cells if cell.cell_type == "code")
    notebook.metadata = {**METADATA, "ran": digest_of(sources)}
    for cell in notebook.cells:
        cell.metadata = {}
    return nbformat.reads(_nobodys(nbformat.writes(notebook)), as_version=4)


def _nobodys(text: str) -> str:
    """Without the names of a person's folders."""
    return text.replace(str(Path.home()), "~").replace(tempfile.gettempdir(), "$TMPDIR")


def digest_of(sources: Iterable[str]) -> str:
    """What tells whether the code of a notebook is still what its outputs came from."""
    return hashlib.sha256("\n".join(sources).encode()).hexdigest()[:16]


if __name__ == "__main__":
    main()
