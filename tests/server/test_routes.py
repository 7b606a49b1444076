"""The other routes: completions, embeddings, tokens, models, health and metrics."""

import base64
import math
import struct

import httpx
import pytest

from mistralrs_mlx import CompletionRequest, EmbeddingRequest, Runner

from .asking import chat, chunks

COMPLETE = "/v1/completions"
EMBED = "/v1/embeddings"


def test_a_completion_is_the_one_that_the_runner_gives(
    client: httpx.Client, runner: Runner
) -> None:
    request = CompletionRequest("Once", "default", max_tokens=8, temperature=0.0)
    expected = runner.send_completion_request(request).choices[0].text
    asked = {"prompt": "Once", "max_tokens": 8, "temperature": 0}
    (choice,) = client.post(COMPLETE, json=asked).json()["choices"]
    assert (choice["text"], choice["finish_reason"]) == (expected, "length")
    assert client.post(COMPLETE, json=asked | {"echo": True}).json()["choices"][0]["text"] == (
        "Once" + expected
    )


def test_several_prompts_have_their_choices_numbered_through(client: httpx.Client) -> None:
    asked = {"prompt": ["Once", "Twice"], "n": 2, "max_tokens": 4}
    answer = client.post(COMPLETE, json=asked).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert answer["usage"]["completion_tokens"] == 16


def test_a_streamed_completion_ends_with_its_usage(client: httpx.Client) -> None:
    *said, last = chunks(client, COMPLETE, prompt="Once", stream_options={"include_usage": True})
    assert len(said) > 1
    assert {each["object"] for each in said} == {"text_completion"}
    assert not any("usage" in each for each in said)
    assert (last["choices"], last["usage"]["completion_tokens"]) == ([], 8)


def test_streams_of_several_prompts_are_joined_and_numbered_through(client: httpx.Client) -> None:
    asked = {"prompt": ["Once", "Twice"], "n": 2, "max_tokens": 4, "seed": 5, "temperature": 1}
    whole = client.post(COMPLETE, json=asked).json()
    pieces = chunks(client, COMPLETE, **asked)
    found = ["", "", "", ""]
    for choice in (choice for piece in pieces for choice in piece["choices"]):
        found[choice["index"]] += choice["text"]
    assert found == [choice["text"] for choice in whole["choices"]]
    ends = [choice["finish_reason"] for piece in pieces for choice in piece["choices"]]
    assert ends.count("length") == 4
    usages = [piece["usage"]["completion_tokens"] for piece in pieces if "usage" in piece]
    assert usages == [16]


@pytest.mark.parametrize("prompt", ["", [], [""], [1, 2], [[1, 2]]])
def test_a_prompt_is_one_or_more_texts(client: httpx.Client, prompt: object) -> None:
    assert client.post(COMPLETE, json={"prompt": prompt}).status_code == 400


def test_vectors_are_the_runners(client: httpx.Client, runner: Runner) -> None:
    expected = runner.send_embedding_request(EmbeddingRequest(["Hello", "sky"]))
    answer = client.post(EMBED, json={"input": ["Hello", "sky"]}).json()
    assert [each["embedding"] for each in answer["data"]] == expected
    tokens = sum(len(runner.tokenize_text(text)) for text in ("Hello", "sky"))
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}


def test_a_vector_in_base64_is_the_same_vector(client: httpx.Client) -> None:
    plain, coded = (
        client.post(EMBED, json={"input": "sky", "encoding_format": form}).json()["data"][0]
        for form in ("float", "base64")
    )
    raw = base64.b64decode(coded["embedding"])
    assert struct.unpack(f"<{len(raw) // 4}f", raw) == pytest.approx(plain["embedding"], abs=1e-7)


def test_a_shortened_vector_points_the_same_way_at_length_one(client: httpx.Client) -> None:
    whole, short = (
        client.post(EMBED, json={"input": "sky", **more}).json()["data"][0]["embedding"]
        for more in ({}, {"dimensions": 8})
    )
    assert math.hypot(*short) == pytest.approx(1)
    assert [each / short[0] for each in short] == pytest.approx(
        [each / whole[0] for each in whole[:8]]
    )
    assert client.post(EMBED, json={"input": "sky", "dimensions": 9999}).status_code == 400


def test_tokens_of_a_text_are_vectors_input_as_well(client: httpx.Client, runner: Runner) -> None:
    tokens = runner.tokenize_text("Hello")
    by_text, by_token, by_tokens = (
        client.post(EMBED, json={"input": given}).json()["data"][0]["embedding"]
        for given in ("Hello", tokens, [tokens])
    )
    assert by_text == by_token == by_tokens


def test_texts_become_tokens_and_texts_again(client: httpx.Client, runner: Runner) -> None:
    found = client.post("/tokenize", json={"prompt": "The sky"}).json()
    assert found["tokens"] == runner.tokenize_text("The sky")
    assert (found["count"], found["max_model_len"]) == (len(found["tokens"]), 512)
    answer = client.post("/detokenize", json={"tokens": found["tokens"]}).json()
    assert answer == {"prompt": "The sky"}


def test_models_are_listed_with_the_default_first(client: httpx.Client, runner: Runner) -> None:
    (name,) = runner.list_models()
    answer = client.get("/v1/models").json()
    assert [(card["id"], card["status"]) for card in answer["data"]] == [
        ("default", "loaded"), (name, "loaded"),
    ]  # fmt: skip
    assert client.get(f"/v1/models/{name}").json()["id"] == name  # a path, with its slashes
    assert client.get("/v1/models/other").status_code == 404


def test_an_unloaded_model_is_loaded_by_a_request(client: httpx.Client) -> None:
    before = chat(client).json()["choices"]
    one = {"model_id": "default"}
    assert client.post("/v1/models/unload", json=one).json()["status"] == "unloaded"
    assert client.post("/v1/models/status", json=one).json()["status"] == "unloaded"
    assert chat(client).json()["choices"] == before
    assert client.post("/v1/models/status", json=one).json()["status"] == "loaded"


def test_a_model_is_reloaded_on_demand(client: httpx.Client) -> None:
    client.post("/v1/models/unload", json={"model_id": "default"})
    answer = client.post("/v1/models/reload", json={"model_id": "default"})
    assert answer.json()["status"] == "loaded"
    unknown = client.post("/v1/models/reload", json={"model_id": "other"})
    assert unknown.status_code == 404


def test_health_asks_no_model(client: httpx.Client) -> None:
    assert client.get("/health").text == "OK"


def test_metrics_count_requests_and_tokens(client: httpx.Client) -> None:
    def counted() -> dict[str, float]:
        lines = client.get("/metrics").text.splitlines()
        return {
            name: float(number)
            for name, _, number in (line.rpartition(" ") for line in lines if line[0] != "#")
        }

    before = counted()
    chunks(client)
    client.get("/v1/%22%0a")
    after = counted()
    line = 'http_requests_total{method="POST",route="/v1/chat/completions",status="200"}'
    assert after[line] - before.get(line, 0) == 1
    name = "mistralrs_completion_tokens_total"
    assert after[name] - before[name] == 8
    assert after['http_requests_total{method="GET",route="other",status="404"}'] >= 1
    assert after["mistralrs_answers_in_flight"] == 0
