"""Ids and paths: local files are never asked of the hub, and its failures say what to do."""

import errno
import re
import time
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import errors

from mistralrs_mlx.errors import CheckpointError
from mistralrs_mlx.loaders.hub import resolve, resolve_files, token_of

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache of the hub that holds one model."""
    repository = tmp_path / "hub" / "models--org--model"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    for name in ("config.json", "model.safetensors", "m.Q4_0.gguf"):
        (snapshot / name).touch()
    return tmp_path / "hub"


def complaint(call: Any, *arguments: Any, **options: Any) -> str:
    started = time.perf_counter()
    with pytest.raises(CheckpointError) as caught:
        call(*arguments, **options)
    assert time.perf_counter() - started < 2  # the first call imports the hub's package
    return str(caught.value)


def test_a_local_folder_needs_no_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", None)
    (tmp_path / "org" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert resolve("org/model") == Path("org/model")
    assert resolve(str(tmp_path)) == tmp_path


def test_a_file_that_a_local_folder_lacks_is_not_asked_of_the_hub(tmp_path: Path) -> None:
    (tmp_path / "there.gguf").touch()
    assert resolve_files(str(tmp_path), ["there.gguf"]) == [tmp_path / "there.gguf"]
    said = complaint(resolve_files, str(tmp_path), ["nope.gguf"])
    assert said.startswith(
        f"File `nope.gguf` was not found in local model directory `{tmp_path}`. This model ID was "
        "treated as local because that directory exists, so Hugging Face was not queried for this "
        "file."
    )
    assert said.endswith("The directory holds there.gguf")


def test_an_absolute_name_of_a_file_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").touch()
    assert resolve_files(".", [str(tmp_path / "a.gguf")]) == [tmp_path / "a.gguf"]


def test_a_file_in_place_of_a_folder_says_where_it_goes(tmp_path: Path) -> None:
    (tmp_path / "a.gguf").touch()
    assert "quantized_filename" in complaint(resolve, str(tmp_path / "a.gguf"))
    (tmp_path / "model.safetensors").touch()
    said = complaint(resolve, str(tmp_path / "model.safetensors"))
    assert said.endswith(f"Give the folder that it is in: {tmp_path}")


@pytest.mark.parametrize("name", ["/nope/model", "./nope", "~/nope", "a/b/c", "", "a\0b"])
def test_a_path_that_is_not_there_is_no_id(name: str) -> None:
    said = complaint(resolve, name)
    assert repr(name) in said
    assert "owner/name" in said


def test_what_the_cache_holds_is_found_without_a_network(cache: Path) -> None:
    snapshot = cache / "models--org--model" / "snapshots" / COMMIT
    assert resolve("org/model", hf_cache_path=cache) == snapshot
    assert resolve("org/model", hf_cache_path=cache, revision=COMMIT) == snapshot
    found = resolve_files("org/model", ["m.Q4_0.gguf"], hf_cache_path=str(cache))
    assert found == [snapshot / "m.Q4_0.gguf"]


def test_what_the_cache_lacks_says_so_at_once(cache: Path) -> None:
    for said in (
        complaint(resolve, "org/other", hf_cache_path=cache),
        complaint(resolve_files, "org/model", ["other.gguf"], hf_cache_path=cache),
    ):
        assert said.startswith("Hugging Face access failed, and org/")
        assert "HF_HUB_OFFLINE" in said


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (errors.GatedRepoError, "is gated. Accept its terms at https://huggingface.co/org/model"),
        (errors.RepositoryNotFoundError, "Hugging Face has no model org/model, or it is private"),
        (errors.RevisionNotFoundError, "org/model has no revision v9"),
        (errors.HFValidationError, "neither a local folder nor an id"),
        (errors.LocalEntryNotFoundError, "Hugging Face access failed"),
        (ConnectionError, "Hugging Face access failed"),
        (OSError, "failed: OSError. Try again later"),
    ],
)
def test_what_the_hub_refuses_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception], said: str
) -> None:
    def refuse(*_: Any, **__: Any) -> str:
        raise error.__new__(error)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    assert said in complaint(resolve, "org/model", revision="v9")


def test_a_full_disk_says_where_another_folder_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(*_: Any, **__: Any) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fill)
    assert re.search("No space left .* HF_HOME or as hf_cache", complaint(resolve, "org/model"))


def test_a_repository_without_the_file_lists_those_it_has(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = ["README.md", "m.Q4_0.gguf", "m.Q8_0.gguf"]
    monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda *_, **__: held)
    said = complaint(resolve_files, "org/model", ["m.Q2_K.gguf"], hf_cache_path=cache)
    assert said.endswith("has no file m.Q2_K.gguf on Hugging Face. It has m.Q4_0.gguf, m.Q8_0.gguf")


def test_only_what_a_model_needs_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def download(model_id: str, **options: Any) -> str:
        asked.update(options, model_id=model_id)
        return "."

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    resolve("org/model", token_source="literal:secret", hf_cache_path="~/c", revision="v1")
    assert asked["model_id"] == "org/model"
    assert (asked["token"], asked["revision"]) == ("secret", "v1")
    assert asked["cache_dir"] == Path("~/c").expanduser()
    assert "*.safetensors" in asked["allow_patterns"]
    assert "original/*" in asked["ignore_patterns"]
    with pytest.raises(CheckpointError):
        resolve_files("org/model", ["a[1].gguf"])
    assert asked["allow_patterns"] == ["a[[]1].gguf"]


def test_progress_counts_bytes_and_draws_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[tuple[int, int | None]] = []

    def download(*_: Any, tqdm_class: Any, **__: Any) -> str:
        with tqdm_class(total=2, unit="it") as files, tqdm_class(total=0, unit="B") as data:
            data.update(3)
            data.total = 10
            files.update(1)
            data.update(7)
        return "."

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    resolve("org/model", told=lambda done, total: told.append((done, total)))
    assert told == [(3, None), (10, 10)]
    assert capsys.readouterr() == ("", "")


def test_every_form_of_a_token_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("from-file\n")
    monkeypatch.setenv("MY_TOKEN", "from-env")
    assert token_of("cache") is None
    assert token_of("none") is False
    assert token_of("literal:a:b") == "a:b"
    assert token_of("env:MY_TOKEN") == "from-env"
    assert token_of(f"path:{tmp_path / 'token'}") == "from-file"
    assert token_of("env:NOPE") is token_of("path:/nope") is False


@pytest.mark.parametrize("source", ["", "hf_secret", "cache:", "none:x", "env", "Literal:x"])
def test_another_token_source_is_refused_without_being_shown(source: str) -> None:
    with pytest.raises(ValueError, match="Invalid token source format") as caught:
        resolve("org/model", token_source=source)
    assert not source or source not in str(caught.value).split(":", 1)[0]
    assert "hf_secret" not in str(caught.value)
