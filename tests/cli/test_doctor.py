"""The doctor says what is there, what is missing and how to get it, and keeps a token to itself."""

import importlib.metadata
import json
import platform
import sys
from collections.abc import Callable

import mlx.core as mx
import pytest

from mistralrs_mlx import __version__
from mistralrs_mlx.cli import doctor

REQUIRES = [
    "numpy>=2.0",
    "starlette>=0.46; extra == 'server'",
    "no-such-thing>=1; extra == 'server'",
    "pytest>=8; extra == 'dev'",
    "llguidance>=1.7 ; extra == 'grammar'",
]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def _metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda _: REQUIRES)


def told(run: Run) -> dict[str, dict[str, str | None]]:
    status, out, _ = run("doctor", "--json")
    assert status == 0
    return json.loads(out)


def test_an_extra_that_lacks_something_has_the_line_that_installs_it(run: Run) -> None:
    fact = told(run)["[server]"]
    assert fact["found"] == "lacks no-such-thing"
    assert fact["remedy"] == "pip install 'mistralrs-mlx[server]'"


def test_an_extra_that_is_there_needs_nothing(run: Run) -> None:
    assert told(run)["[grammar]"] == {"found": "installed", "remedy": None}


def test_extras_that_no_user_needs_are_not_told(run: Run) -> None:
    assert "[dev]" not in told(run)


def test_without_metadata_it_says_so(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError

    monkeypatch.setattr(importlib.metadata, "requires", missing)
    assert told(run)["extras"]["remedy"] == "pip install -e ."


def test_a_token_is_told_of_and_not_shown(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    _, out, err = run("doctor")
    assert "hub token      there\n" in out
    assert "hf_secret" not in out + err


def test_a_missing_token_has_its_remedy(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    assert "hf auth login" in str(told(run)["hub token"]["remedy"])


def test_text_and_json_tell_the_same(run: Run) -> None:
    facts, (_, out, _) = told(run), run("doctor")
    assert facts["mistralrs-mlx"]["found"] == __version__
    assert not [name for name in facts if f"\n{name} " not in f"\n{out}"]
    assert {"memory", "device", "Metal", "for models", "hub cache", "demo model"} <= facts.keys()


@pytest.mark.parametrize(("machine", "right"), [("arm64", True), ("x86_64", False)])
def test_a_mac_that_hides_its_processor_is_noticed(
    machine: str, right: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "machine", lambda: machine)
    assert (doctor._translated() is None) is right


def test_a_mac_whose_gpu_is_hidden_hears_of_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    monkeypatch.setattr("mlx.core.default_device", lambda: mx.Device(mx.gpu))
    monkeypatch.setattr("mlx.core.is_available", lambda _: False)
    facts = told(run)
    assert "virtual machines" in str(facts["Metal"]["remedy"])
    assert "for models" not in facts
