"""One answer: what is loaded, what is asked, what is printed where."""

import json
from pathlib import Path

import pytest

from mistralrs_mlx import ModelDType, Which

from .scripted import chunk, words


def test_the_answer_goes_to_stdout_and_the_usage_to_stderr(run, runner) -> None:
    runner.script = ["Because of scattering."]
    assert run("run", "-i", "Why?") == (0, "Because of scattering. \n", "Usage { }\n")
    assert runner.asked[0].messages == [{"role": "user", "content": "Why?"}]


def test_a_piped_text_is_the_prompt(run, runner) -> None:
    runner.script = ["Yes."]
    assert run("run", piped="Is it?\n")[0] == 0
    assert runner.asked[0].messages[0]["content"] == "Is it?"


def test_an_empty_pipe_is_an_error_before_anything_loads(run, runner) -> None:
    status, out, err = run("run", piped="  \n")
    assert (status, out, runner.made) == (1, "", {})
    assert err.startswith("mistralrs-mlx: nothing to answer")


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_text_is_an_error_before_anything_loads(run, runner, text: str) -> None:
    status, out, err = run("run", "-i", text)
    assert (status, out, runner.made) == (1, "", {})
    assert err.startswith("mistralrs-mlx: nothing to answer")


def test_piped_bytes_that_are_no_text_are_refused_with_the_place(run, runner) -> None:
    status, _, err = run("run", piped="caf\udce9")
    assert (status, runner.made) == (1, {})
    assert "not UTF-8 after 3 characters" in err


def test_thoughts_do_not_get_into_a_file(run, runner) -> None:
    runner.script = [iter([chunk(content=None, reasoning="Hm."), chunk(content="Yes.")])]
    status, out, err = run("run", "-i", "Is it?")
    assert (status, out) == (0, "Yes.\n")
    assert err.startswith("Hm.")


def test_an_answer_that_was_cut_off_says_so(run, runner) -> None:
    runner.script = [iter([chunk(content="Once", finish_reason="length")])]
    assert "--max-tokens" in run("run", "-i", "Tell.")[2]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Give one as chat_template=, or none", "Give one as --chat-template, or none"),
        ("chat_template='x' does not exist", "--chat-template 'x' does not exist"),
        ("goes into quantized_filename of Which.GGUF", "goes into --gguf"),
        ("no chat_template entry", "no chat_template entry"),
        ("perhaps consider using `truncate_sequence`? 9", "shorten it, or /clear a long chat. 9"),
    ],
)
def test_messages_name_options_where_they_name_arguments(run, runner, said, told) -> None:
    runner.script = [ValueError(said)]
    assert run("run", "-i", "x")[2] == f"mistralrs-mlx: {told}\n"


def test_an_error_of_the_system_names_the_file(run, runner) -> None:
    runner.script = [FileNotFoundError(2, "No such file or directory", "/no/such")]
    assert run("run", "-i", "x")[2] == "mistralrs-mlx: /no/such: No such file or directory\n"


@pytest.mark.parametrize("arguments", [(), ("-m", "demo")])
def test_the_demo_model_answers_where_none_is_named(run, runner, arguments) -> None:
    runner.script = ["x"]
    run("run", *arguments, "-i", "x")
    which = runner.made["which"]
    assert (which.quantized_model_id, which.quantized_filename) == ("/cache", "demo.gguf")


@pytest.mark.parametrize(
    ("architecture", "selector"),
    [("LlamaForCausalLM", Which.Plain), ("Phi4MMForCausalLM", Which.MultimodalPlain)],
)
def test_a_folder_says_what_its_model_is_for(
    run, runner, tmp_path: Path, architecture: str, selector: type
) -> None:
    runner.script = ["x"]
    (tmp_path / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    run("run", "-m", str(tmp_path), "--dtype", "f32", "-i", "x")
    which = runner.made["which"]
    assert isinstance(which, selector)
    assert (which.model_id, which.dtype) == (str(tmp_path), ModelDType.F32)


def test_a_model_of_the_hub_is_looked_up_with_the_token(run, runner, monkeypatch) -> None:
    asked: dict[str, str] = {}

    def resolve(model_id: str, **options: str) -> Path:
        asked.update(options, model_id=model_id)
        return Path("/nothing")

    monkeypatch.setattr("mistralrs_mlx.auto.resolve", resolve)
    runner.script = ["x"]
    run("run", "-m", "Qwen/Qwen3-4B", "--token-source", "env:TOKEN", "-i", "x")
    assert (asked["model_id"], asked["token_source"]) == ("Qwen/Qwen3-4B", "env:TOKEN")
    assert runner.made["which"].model_id == "Qwen/Qwen3-4B"


def test_an_architecture_that_sees_makes_a_model_that_sees(run, runner) -> None:
    runner.script = ["x"]
    run("run", "-m", "microsoft/Phi-4-multimodal-instruct", "-a", "phi4mm", "-i", "x")
    assert isinstance(runner.made["which"], Which.MultimodalPlain)
    assert "no Architecture" in run("run", "-m", "x", "-a", "nothing", "-i", "x")[2]


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (("--gguf", "models/a.gguf"), ("models", "a.gguf")),
        (("-f", "a.gguf"), (".", "a.gguf")),
        (("-m", "org/repo", "-f", "a.gguf"), ("org/repo", "a.gguf")),
    ],
)
def test_a_gguf_file_is_a_path_or_a_name_in_a_repository(run, runner, arguments, place) -> None:
    runner.script = ["x"]
    run("run", *arguments, "-i", "x")
    which = runner.made["which"]
    assert (which.quantized_model_id, which.quantized_filename) == place


def test_the_runner_gets_what_was_said_and_no_more(run, runner) -> None:
    runner.script = ["x"]
    run("run", "--isq", "4", "--seed", "7", "--max-seqs", "2", "-j", "t.jinja", "-i", "x")
    made = {name: value for name, value in runner.made.items() if name != "which"}
    settings = {"in_situ_quant": "4", "seed": 7, "max_seqs": 2, "jinja_explicit": "t.jinja"}
    assert made == settings


def test_the_request_gets_what_was_said_about_sampling(run, runner) -> None:
    runner.script = ["x"]
    run("run", "--temperature", "0.5", "--top-k", "3", "--thinking", "false", "-i", "x")
    asked = runner.asked[0]
    assert (asked.temperature, asked.top_k, asked.enable_thinking) == (0.5, 3, False)
    assert (asked.top_p, asked.max_tokens) == (None, None)


@pytest.mark.parametrize(
    "error", [ValueError("no such\nmodel"), NotImplementedError("x"), OSError()]
)
def test_a_failure_is_one_line_without_a_traceback(run, runner, error) -> None:
    runner.script = [error]
    status, out, err = run("run", "-i", "x")
    assert (status, out) == (1, "")
    assert err.startswith("mistralrs-mlx: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [("--tok-model-id", "org/repo", "-m", "folder"), ("--arch", "llama", "--gguf", "a.gguf")],
)
def test_an_option_that_would_have_no_effect_is_refused(run, runner, arguments) -> None:
    status, _, err = run("run", *arguments, "-i", "x")
    assert (status, runner.made) == (1, {})
    assert arguments[0] in err


def test_a_wrong_option_is_explained(run, runner) -> None:
    status, _, err = run("run", "--temprature", "1", "-i", "x")
    assert (status, "--temprature" in err) == (2, True)


def test_interrupting_an_answer_ends_the_program_as_shells_expect(run, runner) -> None:
    runner.script = [words("Once upon", interrupt=True)]
    assert run("run", "-i", "Tell.") == (130, "Once upon \n", "")
