"""Programs that people put before such a server: LangChain, and Simon Willison's llm."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings

from mistralrs_mlx import EmbeddingRequest, Runner

from .asking import chat, exactly
from .test_openai_client import CALL, TOOL, Sky


def chain(url: str, **options: Any) -> Any:
    options = {"temperature": 0, "max_tokens": 8} | options
    return ChatOpenAI(base_url=f"{url}/v1", api_key="none", model="default", **options)


def said(client: httpx.Client) -> str:
    return str(chat(client).json()["choices"][0]["message"]["content"])


def test_langchain_reads_an_answer_whole_and_streamed(url: str, client: httpx.Client) -> None:
    whole = chain(url).invoke("Hello")
    assert whole.content == said(client)
    assert whole.usage_metadata["output_tokens"] == 8
    pieces = list(chain(url, stream_usage=True).stream("Hello"))
    assert len(pieces) > 2
    joined = sum_of(pieces)
    assert joined.content == whole.content
    assert joined.usage_metadata["output_tokens"] == 8


def test_langchain_calls_a_tool_and_hands_its_result_in(url: str) -> None:
    asked = chain(url, max_tokens=None, extra_body=exactly(CALL)).bind_tools([TOOL])
    question = HumanMessage("Hello")
    for answer in (asked.invoke([question]), sum_of(asked.stream([question]))):
        (call,) = answer.tool_calls
        assert (call["name"], call["args"]) == ("weather", {"place": "Oslo"})
    result = ToolMessage("rain", tool_call_id=call["id"])
    plain = chain(url).bind_tools([TOOL])
    first, second = (plain.invoke(turns) for turns in ([question], [question, answer, result]))
    assert second.usage_metadata["input_tokens"] > first.usage_metadata["input_tokens"] + 20


def sum_of(pieces: Any) -> Any:
    first, *others = pieces
    for piece in others:
        first = first + piece
    return first


def test_langchain_gives_an_object_of_a_class(url: str) -> None:
    structured = chain(url, max_tokens=60).with_structured_output(Sky, method="json_schema")
    assert isinstance(structured.invoke("Hello"), Sky)


def test_langchain_asks_for_vectors(url: str, runner: Runner) -> None:
    embeddings = OpenAIEmbeddings(
        base_url=f"{url}/v1", api_key="none", model="default", check_embedding_ctx_length=False
    )
    expected = runner.send_embedding_request(EmbeddingRequest(["Hello"]))[0]
    assert embeddings.embed_query("Hello") == pytest.approx(expected, abs=1e-6)


def test_llm_answers_on_the_command_line(url: str, client: httpx.Client, tmp_path: Path) -> None:
    models = f"- model_id: ours\n  model_name: default\n  api_base: {url}/v1\n"
    (tmp_path / "extra-openai-models.yaml").write_text(models)
    command = [
        *(sys.executable, "-m", "llm", "-m", "ours", "-o", "temperature", "0"),
        *("-o", "max_tokens", "8", "Hello"),
    ]
    done = subprocess.run(
        command,
        env=os.environ | {"LLM_USER_PATH": str(tmp_path)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().strip() == said(client).strip()
