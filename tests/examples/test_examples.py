"""Every example runs as its first line says, and leaves nothing on standard error."""

import ast
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest
import soundfile
from PIL import Image, ImageDraw

from tests.media.files import sound
from tests.models.phi4mm_tiny import write_tiny_phi4mm
from tests.tidy.source import ROOT

EXAMPLES = ROOT / "examples"
ON_THE_DEMO_MODEL = [  # without an argument
    "custom_search.py",
    "custom_tool_call.py",
    "gguf.py",
    "json_schema.py",
    "plain.py",
    "pydantic_schema.py",
    "streaming.py",
    "web_search.py",  # it is not trained to use tools, so it needs no network
]
ON_A_CHECKPOINT = [
    "isq.py",
    "lark.py",
    "lark_llg.py",
    "llguidance.py",
    "plain.py",
    "regex.py",
    "streaming.py",
    "token_source.py",
    "tool_call.py",
]
ABOUT_MEDIA = {"phi4mm.py": ["drawn.png", "made.wav"], "phi4mm_audio.py": ["made.wav"]}
ENVIRONMENT = os.environ | {"HF_TOKEN": "hf_none", "PYTHONPATH": str(ROOT)}
# A search, a tool, a class of answers.
DEFINE_ONE_THING = ["custom_search.py", "custom_tool_call.py", "pydantic_schema.py"]


def output(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=EXAMPLES,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


@pytest.mark.parametrize("name", ON_THE_DEMO_MODEL)
def test_an_example_runs_on_the_demo_model(name: str, demo_gguf: Path) -> None:
    assert output(name)


@pytest.mark.parametrize("name", ON_A_CHECKPOINT)
def test_an_example_runs_on_a_checkpoint(name: str, tiny_llama: Path) -> None:
    assert output(name, str(tiny_llama))


def test_an_example_runs_on_a_gguf_file(demo_gguf: Path) -> None:
    assert "Paris" in output("gguf.py", str(demo_gguf))


@pytest.mark.parametrize("name", ABOUT_MEDIA)
def test_an_example_sees_and_hears(name: str, tmp_path: Path) -> None:
    model = write_tiny_phi4mm(tmp_path / "model", intermediate_size=64)
    picture = Image.new("RGB", (120, 80), "teal")
    ImageDraw.Draw(picture).ellipse((20, 10, 90, 70), fill="gold")
    picture.save(tmp_path / "drawn.png")
    soundfile.write(tmp_path / "made.wav", sound(0.5), 16000)
    assert output(name, *(str(tmp_path / file) for file in ABOUT_MEDIA[name]), str(model))


def test_the_server_answers_until_it_is_interrupted(tiny_llama: Path) -> None:
    command = [sys.executable, "-u", "server.py", str(tiny_llama)]
    with subprocess.Popen(command, cwd=EXAMPLES, env=ENVIRONMENT, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split()[0].decode()
            assert "tiny-llama" in answered(f"{address}/models")
        finally:
            server.send_signal(signal.SIGINT)
        assert server.wait(30) in (0, -signal.SIGINT, 130)


def answered(url: str, *, seconds: float = 30) -> str:
    """What a server says that may have to start first."""
    last = time.monotonic() + seconds
    while True:
        try:
            with urlopen(url, timeout=5) as response:
                return response.read().decode()
        except OSError:
            if time.monotonic() > last:
                raise
            time.sleep(0.1)


def test_every_example_is_run() -> None:
    run = {*ON_THE_DEMO_MODEL, *ON_A_CHECKPOINT, *ABOUT_MEDIA, "server.py"}
    assert {path.name for path in EXAMPLES.glob("*.py")} == run


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_short_and_flat(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert 15 <= len(text.splitlines()) <= 40
    nodes = ast.walk(ast.parse(text))
    defined = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)]
    assert len(defined) == (path.name in DEFINE_ONE_THING)


def test_an_example_is_not_imported_in_place_of_the_standard_library() -> None:
    assert not {path.stem for path in EXAMPLES.glob("*.py")} & sys.stdlib_module_names
