"""`mistralrs-mlx serve`: what is said on the command line and in models.toml."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

import mistralrs_mlx.server
from mistralrs_mlx import Runner, Which
from mistralrs_mlx.cli import main
from mistralrs_mlx.server import Settings, read_config, which_of
from tests.tiny_checkpoint import write_tiny_llama

from .asking import chat
from .conftest import live

Served = list[tuple[list[str], Settings, dict[str, Any]]]


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Served:
    """What the command serves, noted in place of listening: models, settings, an answer."""
    found: Served = []

    def listen(runner: Runner, settings: Settings) -> None:
        with live(runner, settings) as url, httpx.Client(base_url=url) as client:
            headers = {"Authorization": f"Bearer {settings.api_key}"}
            client.headers.update(headers)
            found.append((runner.list_models(), settings, chat(client).json()))

    monkeypatch.setattr(mistralrs_mlx.server, "serve", listen)
    monkeypatch.delenv("MISTRALRS_MLX_API_KEY", raising=False)
    return found


@pytest.fixture
def other(tmp_path: Path) -> str:
    return str(write_tiny_llama(tmp_path / "other", seed=1))


def test_several_models_are_served(served: Served, tiny_llama: Path, other: str) -> None:
    assert main(["serve", "-m", str(tiny_llama), "-m", other, "--max-seqs", "2"]) == 0
    ((models, settings, answer),) = served
    assert (models, answer["model"]) == ([str(tiny_llama), other], str(tiny_llama))
    assert (settings.host, settings.port, settings.api_key) == ("127.0.0.1", 1234, None)


def test_the_options_reach_the_settings(served: Served, tiny_llama: Path) -> None:
    limits = ["--max-requests=3", "--max-body=4000", "--answer-seconds=5", "--port=99"]
    limits += ["--max-stored=7", "--max-stored-bytes=8000"]
    access = ["--api-key=k", "--cors-origin=https://a.org", "--cors-origin=https://b.org"]
    assert main(["serve", "-m", str(tiny_llama), "--media-urls", *limits, *access]) == 0
    settings = served[0][1]
    assert settings == Settings(
        max_requests=3, max_body=4000, answer_seconds=5.0, port=99, api_key="k", media_urls=True,
        max_stored=7, max_stored_bytes=8000,
        cors_origins=("https://a.org", "https://b.org"),
    )  # fmt: skip


def test_a_key_may_come_from_the_environment(
    served: Served, tiny_llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MISTRALRS_MLX_API_KEY", "hidden")
    main(["serve", "-m", str(tiny_llama)])
    assert served[0][1].api_key == "hidden"


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], str]:
    def written(text: str) -> str:
        (tmp_path / "models.toml").write_text(text, encoding="utf-8")
        return str(tmp_path / "models.toml")

    return written


def test_a_file_names_models_their_default_and_where_to_listen(
    served: Served, tiny_llama: Path, other: str, config: Callable[[str], str]
) -> None:
    path = config(
        f'default_model_id = "{other}"\n[runtime]\nmax_seqs = 2\n[server]\nport = 77\n'
        f'host = "localhost"\n[[models]]\nmodel_id = "{tiny_llama}"\ndtype = "f32"\n'
        f'[[models]]\nmodel_id = "{other}"\n[models.quantization]\nisq = "8"\n'
    )
    assert main(["serve", "--config", path, "--port", "88"]) == 0
    ((models, settings, answer),) = served
    assert (models, answer["model"]) == ([str(tiny_llama), other], other)
    assert (settings.host, settings.port) == ("localhost", 88)


def test_every_kind_of_entry_becomes_its_which(config: Callable[[str], str]) -> None:
    text = (
        '[[models]]\nmodel_id = "a"\narch = "llama"\n'
        '[[models]]\nmodel_id = "b"\nkind = "embedding"\n'
        '[[models]]\nmodel_id = "c"\n[models.format]\nquantized_file = "c.gguf"\n'
        '[[models]]\nmodel_id = "d"\nkind = "multimodal"\narch = "phi4mm"\n'
    )
    plain, embedding, gguf, multimodal = map(which_of, read_config(config(text)).models)
    assert isinstance(plain, Which.Plain)
    assert isinstance(embedding, Which.Embedding)
    assert isinstance(gguf, Which.GGUF)
    assert isinstance(multimodal, Which.MultimodalPlain)


@pytest.mark.parametrize("kind", ["", 'kind = "auto"'])
def test_an_entry_that_names_no_kind_has_that_of_its_files(
    tmp_path: Path, config: Callable[[str], str], kind: str
) -> None:
    (tmp_path / "config.json").write_text('{"architectures": ["BertModel"]}')
    (entry,) = read_config(config(f'[[models]]\nmodel_id = "{tmp_path}"\n{kind}')).models
    assert isinstance(which_of(entry), Which.Embedding)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "models"),
        ("models = []", "models"),
        ('[[models]]\nmodel = "x"', "model"),
        ('[[models]]\nmodel_id = "x"\n[paged_attn]\nmode = "on"', "paged_attn"),
        ('default_model_id = "y"\n[[models]]\nmodel_id = "x"', "default_model_id"),
        ("not toml", "models.toml"),
    ],
)
def test_what_is_wrong_in_a_file_is_told(
    capsys: pytest.CaptureFixture[str], config: Callable[[str], str], text: str, complaint: str
) -> None:
    assert main(["serve", "--config", config(text)]) == 1
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["-m", "a", "--config", "x.toml"],
        ["-m", "a", "-m", "b", "-f", "x.gguf"],
        ["-m", "a", "--port", "99999"],
        ["--config", "nowhere.toml"],
    ],
)
def test_what_cannot_be_served_is_refused_in_a_line(
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    config: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    config('[[models]]\nmodel_id = "x"')
    (tmp_path / "models.toml").rename(tmp_path / "x.toml")
    monkeypatch.chdir(tmp_path)
    with contextlib.suppress(SystemExit):
        assert main(["serve", *arguments]) == 1
    assert "Traceback" not in capsys.readouterr().err
