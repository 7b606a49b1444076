"""Rewrite the pages that are made from tables in the code, and the made parts of others."""

import ast
import json
import re
from pathlib import Path

from mistralrs_mlx.loaders.gguf.families import FAMILIES
from mistralrs_mlx.models.registry import EMBEDDING, MULTIMODAL, TABLE, Entry
from mistralrs_mlx.quant.isq import TYPES
from mistralrs_mlx.quant.spec import Spec
from scripts.api_tables import fragments
from scripts.measure_quantization import MEASURED

__all__ = ["pages"]

ROOT = Path(__file__).parents[1]
ERRORS = ROOT / "tests" / "models" / "golden" / "errors.json"
CAUSAL = "ForCausalLM"
MADE = "<!-- Made by `make docs`; edit the code instead. -->"
PART = re.compile(r"(<!-- made: (.+?) -->\n).*?(<!-- made end -->)", re.DOTALL)


def main() -> None:
    for name, text in pages().items():
        (ROOT / name).write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """Path and text of every page that is made, or has parts that are."""
    parts = {"models": _kinds(), "quantization": _quantization(), **fragments()}
    return {
        "README.md": _filled("README.md", parts),
        "docs/api.md": _filled("docs/api.md", parts),
        "docs/isq.md": _isq(),
        "docs/quantization.md": _filled("docs/quantization.md", parts),
        "docs/supported-models.md": _models(),
    }


def _filled(name: str, parts: dict[str, str]) -> str:
    """The page with its parts, which stand between two comments, as they should be."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return PART.sub(lambda found: f"{found[1]}\n{parts[found[2]].strip()}\n\n{found[3]}", text)


def _kinds() -> str:
    """The families of models, by what they do."""
    told = {"text": "Text", MULTIMODAL: "Pictures and sound", EMBEDDING: "Vectors of texts"}
    rows = ["| | architectures, as `config.json` names them |", "|---|---|"]
    for kind, title in told.items():
        names = sorted(entry.name for entry in TABLE if entry.kind == kind)
        rows.append(f"| {title} | {', '.join(name.removesuffix(CAUSAL) for name in names)} |")
    return "\n".join(rows)


def _models() -> str:
    errors = json.loads(ERRORS.read_text(encoding="utf-8"))
    rows = [
        f"| `{entry.name}` | `{entry.model_type}` | {_member(entry)} | {_gguf(entry)} "
        f"| {_error(errors.get(entry.name))} | {_summary(entry)} |"
        for entry in sorted(TABLE, key=lambda entry: entry.name)
    ]
    return _page(
        "Supported models",
        "What `config.json` may name under `architectures`, what mistral.rs calls it, and what "
        "GGUF files do.\nThe error is the largest difference of any logit (or number of a vector) "
        "from transformers in float32,\nover so many tiny models that turn on the architecture's "
        "features.",
        [
            "| architecture | model_type | mistral.rs | GGUF | error, models | |",
            "|---|---|---|---|--:|---|",
            *rows,
        ],
    )


def _isq() -> str:
    rows = [
        f"| `{name}` | {_layout(isq.spec)} | {_layout(isq.promoted)} |"
        for name, isq in TYPES.items()
    ]
    return _page(
        "Quantization on load",
        "What `in_situ_quant` takes, and the layout of MLX that it stands for. Embeddings and the "
        "output layer get the finer one.",
        ["| name | layers | embeddings and head |", "|---|---|---|", *rows],
    )


def _quantization() -> str:
    """What scripts/measure_quantization.py has measured."""
    told = json.loads(MEASURED.read_text(encoding="utf-8"))
    rows = [
        f"| {_width(row['isq'])} | {row['megabytes']:.0f} MB | {row['perplexity']:.1f} "
        f"| {row['decode_tokens_per_second']:.1f} tokens/s |"
        for row in told["rows"]
    ]
    return "\n".join(
        [
            f"SmolLM2-135M, the demo model, on {told['machine']}:",
            "",
            "| `in_situ_quant` | weights | perplexity | decode |",
            "|---|--:|--:|--:|",
            *rows,
        ]
    )


def _width(name: str | None) -> str:
    return f'`"{name}"`' if name else "none: as the file has it, Q4_1"


def _layout(spec: Spec) -> str:
    return f"{spec.mode}, {spec.bits} bits, groups of {spec.group_size}"


def _member(entry: Entry) -> str:
    return f"`{entry.member}`" if entry.member else "not there"


def _gguf(entry: Entry) -> str:
    """What `general.architecture` says in files of this architecture."""
    names = [key for key, family in FAMILIES.items() if family.architecture == entry.name]
    return ", ".join(f"`{name}`" for name in sorted({name.partition(" ")[0] for name in names}))


def _error(measured: dict[str, float] | None) -> str:
    return f"{measured['error']:.0e}, {measured['cases']:.0f}" if measured else ""


def _summary(entry: Entry) -> str:
    """The first sentence of the architecture's docstring, read without importing MLX."""
    module = entry.place.partition(":")[0].replace(".", "/")
    path = ROOT / "mistralrs_mlx" / "models" / f"{module}.py"
    if not path.is_file():
        path = path.with_suffix("") / "__init__.py"
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.split("\n\n")[0].split())


def _page(title: str, introduction: str, table: list[str]) -> str:
    return "\n".join([f"# {title}", "", MADE, "", introduction, "", *table, ""])


if __name__ == "__main__":
    main()
