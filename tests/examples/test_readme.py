"""The README's Python runs, and prints what the README says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from tests.models.phi4mm_tiny import write_tiny_phi4mm
from tests.tidy.source import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
OUTPUT = re.findall(r"^```text\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
HUB_ID = re.compile(r'model_id="[^"]+"')
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT)}


def output(code: str, folder: Path = ROOT) -> str:
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=300
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_the_readme_has_its_scripts() -> None:
    assert ["demo_model()" in block for block in BLOCKS] == [True, False, False]


@pytest.mark.skipif(sys.platform != "linux", reason="another backend may round to other words")
def test_the_first_script_prints_what_the_readme_shows(demo_gguf: Path) -> None:
    assert output(BLOCKS[0]) == OUTPUT[0]


def test_the_second_script_runs_on_any_checkpoint(tiny_llama: Path) -> None:
    code = HUB_ID.sub(f"model_id={str(tiny_llama)!r}", BLOCKS[1])
    assert "completion_tokens" in output(code)


def test_the_third_script_sees_and_hears(tmp_path: Path) -> None:
    model = write_tiny_phi4mm(tmp_path / "model", intermediate_size=64)
    Image.new("RGB", (60, 40), "teal").save(tmp_path / "picture.jpg")
    soundfile.write(tmp_path / "question.wav", np.zeros(8000), 16000)
    code = HUB_ID.sub(f"model_id={str(model)!r}", BLOCKS[2]).replace(
        'model="default",', 'model="default", max_tokens=4, ignore_eos=True,'
    )
    assert output(code, tmp_path)
