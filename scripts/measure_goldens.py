"""Write how far every architecture is from its references into tests/models/golden/errors.json.

`make docs` shows these numbers; the tests hold each of them below 1e-4 whatever is written here.
"""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import mlx.core as mx
import numpy as np

from mistralrs_mlx.loaders.embedders import load_embedder
from mistralrs_mlx.loaders.sentence_transformers import load
from mistralrs_mlx.models.registry import embedder_of, of_config
from tests.embedding.stored import Golden as Pipeline
from tests.embedding.stored import goldens as pipelines
from tests.models.assemble import Golden, Rows, checkpoint, goldens
from tests.models.phi4mm_answers import errors as phi4mm_errors

OUTPUT = Path(__file__).parents[1] / "tests" / "models" / "golden" / "errors.json"


def main() -> None:
    found: dict[str, list[float]] = {}
    for name, error in (*_text(), *_embedding(), *_multimodal()):
        found.setdefault(name, []).append(error)
    told = {name: {"error": max(each), "cases": len(each)} for name, each in sorted(found.items())}
    OUTPUT.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def _text() -> Iterator[tuple[str, float]]:
    """Each text reference's architecture, and the largest difference of its stored logits."""
    for name in goldens():
        golden = Golden.read(name, fused=True)
        logits = Rows(golden.model).alone(golden.tokens)[golden.positions]
        entry = of_config(checkpoint(name)[0])
        yield entry.name, float(np.abs(logits - golden.logits).max())


def _embedding() -> Iterator[tuple[str, float]]:
    """The same for vectors of single texts."""
    for name in pipelines():
        with tempfile.TemporaryDirectory() as folder:
            golden = Pipeline.write(name, Path(folder) / name)
            embedder = load_embedder(load(golden.folder)).embedder
            made = [np.array(embedder(mx.array([row]), [len(row)]))[0] for row in golden.rows]
        yield embedder_of(golden.config).name, float(np.abs(made - golden.vectors).max())


def _multimodal() -> Iterator[tuple[str, float]]:
    """The same for requests with and without media."""
    for error in phi4mm_errors():
        yield "Phi4MMForCausalLM", error


if __name__ == "__main__":
    main()
