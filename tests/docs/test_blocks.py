"""The Python on every page of docs/ runs from top to bottom, on tiny checkpoints.

A block that cannot run has `<!-- not run: why -->` above it, which readers do not see.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from mistralrs_mlx import Runner, Which
from tests.embedding.folders import tiny_embedder
from tests.embedding.tiny import encoder_config
from tests.models.phi4mm_tiny import write_tiny_phi4mm
from tests.server.conftest import live
from tests.tidy.source import ROOT

PAGES = sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"(?:<!-- (not run): [^\n]+ -->\n)?^```python\n(.*?)^```", re.M | re.S)
PLAIN = re.compile(r'"(?:Qwen|google|meta-llama|mistralai|some)/[\w.-]+"')
SERVER = "http://127.0.0.1:1234"


def code(page: Path) -> str:
    """What runs of a page, every line at its own number, so that an error tells where it is."""
    text = page.read_text(encoding="utf-8")
    lines = [""] * len(text.splitlines())
    for block in BLOCK.finditer(text):
        if not block[1]:
            first = text.count("\n", 0, block.start(2))
            inside = block[2].splitlines()
            lines[first : first + len(inside)] = inside
    return "\n".join(lines)


RUNNABLE = [page for page in PAGES if code(page).strip()]


@pytest.fixture(scope="session")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub") / "seeing"
    return write_tiny_phi4mm(folder, intermediate_size=64, max_position_embeddings=1024)


@pytest.fixture(scope="session")
def embedder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_embedder(tmp_path_factory.mktemp("hub") / "embedder", encoder_config("BertModel"))


@pytest.fixture(scope="session")
def server(tiny_llama: Path) -> Iterator[str]:
    with Runner(Which.Plain(model_id=str(tiny_llama))) as runner, live(runner) as address:
        yield address


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that pages name."""
    for name in ("picture.jpg", "plan.png"):
        Image.new("RGB", (60, 40), "teal").save(tmp_path / name)
    soundfile.write(tmp_path / "question.wav", np.zeros(8000), 16000)
    (tmp_path / "mine.jinja").write_text("{{ messages[0].content }}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: page.name)
def test_the_python_of_a_page_runs(
    page: Path, here: Path, tiny_llama: Path, request: pytest.FixtureRequest
) -> None:
    source = code(page).replace("demo_model()", "TINY")
    for name, fixture in (("microsoft/Phi-4-multimodal-instruct", "seeing"), (SERVER, "server")):
        if name in source:
            source = source.replace(name, str(request.getfixturevalue(fixture)))
    source = source.replace("google/embeddinggemma-300m", str(request.getfixturevalue("embedder")))
    source = PLAIN.sub(repr(str(tiny_llama)), source)
    exec(compile(source, str(page), "exec"), {"TINY": Which.Plain(str(tiny_llama))})


def test_blocks_that_do_not_run_are_few_and_say_why() -> None:
    left_out = {
        page.name: sum(block[1] is not None for block in BLOCK.finditer(page.read_text("utf-8")))
        for page in PAGES
    }
    assert {name: count for name, count in left_out.items() if count} == {"adding-a-model.md": 3}
