"""Responses print as mistral.rs's do, to the last comma."""

import math
from textwrap import dedent

import pytest

from mistralrs_mlx import (
    AgenticToolCallRecord,
    CalledFunction,
    ChatCompletionChunkResponse,
    Choice,
    ChunkChoice,
    Delta,
    File,
    FileSource,
    Logprobs,
    PromptTokensDetails,
    ResponseLogprob,
    ResponseMessage,
    ToolCallResponse,
    TopLogprob,
    Usage,
)
from mistralrs_mlx.api.files import Text
from mistralrs_mlx.api.printed import debug_repr

USAGE = Usage(
    completion_tokens=2,
    prompt_tokens=10,
    total_tokens=12,
    avg_tok_per_sec=387.09677,
    avg_prompt_tok_per_sec=625,
    avg_compl_tok_per_sec=133.33334,
    total_time_sec=0.031,
    total_prompt_time_sec=0.016,
    total_completion_time_sec=0.015,
)
PRINTED_USAGE = """\
    Usage {
        completion_tokens: 2,
        prompt_tokens: 10,
        total_tokens: 12,
        prompt_tokens_details: None,
        avg_tok_per_sec: 387.09677,
        avg_prompt_tok_per_sec: 625.0,
        avg_compl_tok_per_sec: 133.33334,
        total_time_sec: 0.031,
        total_prompt_time_sec: 0.016,
        total_completion_time_sec: 0.015,
    }"""
PRINTED_CALL = """\
    Choice {
        finish_reason: "tool_calls",
        stop_sequence: None,
        index: 0,
        message: ResponseMessage {
            content: None,
            role: "assistant",
            tool_calls: Some(
                [
                    ToolCallResponse {
                        index: 0,
                        id: "call-3087fa07-ac64-4bea-8d91-e7dc645fc486",
                        tp: Function,
                        function: CalledFunction {
                            name: "f",
                            arguments: "{\\"a\\":1}",
                        },
                    },
                ],
            ),
            reasoning_content: None,
        },
        logprobs: None,
    }"""
PRINTED_CHUNK = """\
    ChatCompletionChunkResponse {
        id: "1",
        choices: [
            ChunkChoice {
                finish_reason: Some(
                    "stop",
                ),
                stop_sequence: None,
                index: 0,
                delta: Delta {
                    content: Some(
                        "Hi",
                    ),
                    role: "assistant",
                    tool_calls: None,
                    reasoning_content: None,
                },
                logprobs: None,
            },
        ],
        created: 1700000000,
        model: "m",
        system_fingerprint: "local",
        object: "chat.completion.chunk",
        usage: None,
        adapter_generation: None,
        session_id: None,
    }"""
PRINTED_LOGPROBS = """\
    Logprobs {
        content: Some(
            [
                ResponseLogprob {
                    token: "Hi",
                    logprob: -0.5,
                    bytes: Some(
                        [
                            72,
                            105,
                        ],
                    ),
                    top_logprobs: [
                        TopLogprob {
                            token: 7,
                            logprob: -0.1,
                            bytes: Some(
                                "Hi",
                            ),
                        },
                    ],
                },
                ResponseLogprob {
                    token: "",
                    logprob: -2.0,
                    bytes: None,
                    top_logprobs: [],
                },
            ],
        ),
    }"""
PRINTED_FILE = """\
    File {
        id: "file_1_r0_0",
        name: "a.csv",
        format: Some(
            "csv",
        ),
        mime_type: None,
        bytes: 3,
        created_at: 5,
        purpose: "agent_output",
        source: FileSource {
            tool: "t",
            round: 0,
            turn: 0,
        },
        content: Text {
            text: Some(
                "a,b",
            ),
            preview: None,
        },
    }"""


def golden(value: object, text: str) -> None:
    assert repr(value) == str(value) == dedent(text)


def test_usage_prints_as_in_mistral_rs() -> None:
    golden(USAGE, PRINTED_USAGE)


def test_a_tool_call_prints_as_in_mistral_rs() -> None:
    function = CalledFunction(name="f", arguments='{"a":1}')
    call_id = "call-3087fa07-ac64-4bea-8d91-e7dc645fc486"
    call = ToolCallResponse(index=0, id=call_id, function=function)
    message = ResponseMessage(tool_calls=[call])
    golden(Choice(finish_reason="tool_calls", index=0, message=message), PRINTED_CALL)


def test_a_chunk_prints_as_in_mistral_rs() -> None:
    choice = ChunkChoice(finish_reason="stop", index=0, delta=Delta(content="Hi"))
    chunk = ChatCompletionChunkResponse(id="1", choices=[choice], created=1700000000, model="m")
    golden(chunk, PRINTED_CHUNK)


def test_logprobs_print_as_in_mistral_rs() -> None:
    top = TopLogprob(token=7, logprob=-0.1, bytes="Hi")
    first = ResponseLogprob(token="Hi", logprob=-0.5, bytes=b"Hi", top_logprobs=[top])
    last = ResponseLogprob(token="", logprob=-2, top_logprobs=[])
    golden(Logprobs(content=[first, last]), PRINTED_LOGPROBS)


def test_a_file_prints_as_in_mistral_rs() -> None:
    source = FileSource(tool="t", round=0)
    text = Text(text="a,b")
    file = File(
        id="file_1_r0_0", name="a.csv", format="csv", bytes=3, created_at=5, source=source,
        content=text,
    )  # fmt: skip
    golden(file, PRINTED_FILE)


def test_cached_tokens_print_inside_usage() -> None:
    details = PromptTokensDetails(cached_tokens=8)
    lines = (
        "    Some(\n        PromptTokensDetails {\n            cached_tokens: 8,\n        },\n    )"
    )
    assert lines in f"    Some(\n        {debug_repr(details, 2)},\n    )"


def test_a_record_of_a_tool_call_prints_its_lists() -> None:
    call = AgenticToolCallRecord(round=0, name="f", arguments="{}", result_content="é", file_ids=[])
    assert '    result_content: "é",\n    result_images_base64: [],\n' in repr(call)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (625, "625"),
        (625.0, "625.0"),
        (2.6555614471435547, "2.6555614"),
        (1000 / 9, "111.111115"),
        (0.1, "0.1"),
        (1e-4, "0.0001"),
        (9.5e-5, "9.5e-5"),
        (1e-7, "1e-7"),
        (123456789.0, "123456790.0"),
        (1e16, "1e16"),
        (9.9e15, "9900000000000000.0"),
        (math.nan, "NaN"),
        (-math.inf, "-inf"),
        (1e300, "inf"),
    ],
)
def test_floats_print_as_32_bit_floats(value: float, text: str) -> None:
    assert debug_repr(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ('say "hi"\n\t\\', r'"say \"hi\"\n\t\\"'),
        ("it's", '"it\'s"'),
        ("\0\x1b\x7f", r'"\0\u{1b}\u{7f}"'),
        ("Grüße 你好 🙂", '"Grüße 你好 🙂"'),
        ("e\u0301 \u200d \u00a0 \ufeff", r'"e\u{301} \u{200d} \u{a0} \u{feff}"'),
    ],
)
def test_strings_print_with_rusts_escapes(value: str, text: str) -> None:
    assert debug_repr(value) == text
