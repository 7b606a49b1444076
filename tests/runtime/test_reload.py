"""Reloading modules, as notebooks do, starts no second engine thread and keeps no model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.tidy.source import ROOT

LEAST = 300_000  # bytes: weights are more, the caches of a row that has just ended are less
RELOAD = "import importlib\nimportlib.reload(mistralrs_mlx)"
ENGINE = """
import importlib
for name in ("engine.worker", "engine.memory"):
    importlib.reload(sys.modules[f"mistralrs_mlx.{name}"])
"""
AUTORELOAD = """
from IPython.extensions.autoreload import superreload
superreload(sys.modules["mistralrs_mlx.engine.worker"])
"""
PURGE = """
for name in [name for name in sys.modules if name.startswith("mistralrs_mlx")]:
    del sys.modules[name]
import mistralrs_mlx
"""
NOTEBOOK = """
import gc, json, sys, threading
import mlx.core as mx
import mistralrs_mlx


def made_runner():
    return mistralrs_mlx.Runner(mistralrs_mlx.Which.Plain(sys.argv[1]))


def held_after_an_answer():
    gc.collect()  # and what is let go of then is freed before the answer
    request = mistralrs_mlx.CompletionRequest(model="default", prompt="a", max_tokens=2)
    assert runner.send_completion_request(request).choices
    return mx.get_active_memory()


runner = made_runner()
first = held_after_an_answer()
{reload}
runner = made_runner()
second = held_after_an_answer()
runner.close()
threads = [each.name for each in threading.enumerate()]
print(json.dumps([threads.count("mlx"), second - first, mx.get_active_memory()]))
"""


@pytest.mark.parametrize("reload", [RELOAD, ENGINE, AUTORELOAD, PURGE])
def test_a_reload_keeps_one_thread_and_no_old_model(reload: str, tiny_llama: Path) -> None:
    command = [sys.executable, "-c", NOTEBOOK.format(reload=reload), str(tiny_llama)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    threads, grown, left = json.loads(done.stdout)
    assert (threads, grown < LEAST, left < LEAST) == (1, True, True)


def test_a_reload_gives_the_names_that_are_there_by_now() -> None:
    code = (
        "import importlib, mistralrs_mlx\n"
        "mistralrs_mlx.Which\n"
        "importlib.reload(importlib.import_module('mistralrs_mlx.api.which'))\n"
        "importlib.reload(mistralrs_mlx)\n"
        "print(mistralrs_mlx.Which is importlib.import_module('mistralrs_mlx.api.which').Which)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "True\n"
