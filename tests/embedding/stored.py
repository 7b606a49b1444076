"""What the reference says about one pipeline, and the folder that it belongs to."""

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.embedding.folders import write_folder

__all__ = ["Golden", "goldens"]

FOLDER = Path(__file__).parent / "golden"


@dataclass(frozen=True, kw_only=True)
class Golden:
    """A folder as sentence-transformers wrote it, and its vectors for rows of tokens."""

    folder: Path
    config: dict[str, Any]
    rows: list[list[int]]
    states: np.ndarray  # of the first row: (up to 24, D)
    vectors: np.ndarray  # (rows, D)

    @classmethod
    def write(cls, name: str, folder: Path) -> "Golden":
        stored = np.load(FOLDER / f"{name}.npz")
        meta = json.loads(gzip.decompress(stored["meta"].tobytes()))
        write_folder(folder, meta["config"], meta["files"], meta["shapes"])
        return cls(
            folder=folder,
            config=meta["config"],
            rows=meta["rows"],
            states=stored["states"],
            vectors=stored["vectors"],
        )


def goldens() -> list[str]:
    """The names of all stored references."""
    return sorted(path.stem for path in FOLDER.glob("*.npz"))
