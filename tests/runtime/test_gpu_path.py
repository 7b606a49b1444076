"""What a GPU would be asked to do, computed by the CPU: answers come by that path, too."""

from pathlib import Path

import mlx.core as mx
import pytest

from mistralrs_mlx import ChatCompletionRequest, Runner, Which
from mistralrs_mlx.engine.engine import Engine
from mistralrs_mlx.runtime import opening

GPU = {"device_name": "Apple M0", "max_recommended_working_set_size": 2**33}


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Every engine that is made on what passes for a GPU: whether its steps are compiled."""
    made, build = [], Engine.__init__

    def noted(engine: Engine, *args: object, compiled: bool, **more: object) -> None:
        made.append(compiled)
        build(engine, *args, compiled=compiled, **more)

    monkeypatch.setattr(Engine, "__init__", noted)
    monkeypatch.setattr(mx, "default_device", lambda: mx.Device(mx.gpu))
    monkeypatch.setattr(mx, "is_available", lambda _: True)
    monkeypatch.setattr(mx, "device_info", lambda *_: GPU)
    for name in ("prepare", "choose_policy"):
        monkeypatch.setattr(opening, name, lambda *_: pytest.fail("that is for CPUs"))
    return made


@pytest.mark.parametrize("quantized", [None, "4", "MXFP4"])
def test_a_gpu_gets_half_precision_and_compiled_steps_and_nothing_of_the_cpus(
    quantized: str | None, engines: list[bool], tiny_llama: Path
) -> None:
    with Runner(Which.Plain(model_id=str(tiny_llama)), in_situ_quant=quantized) as runner:
        said = [answer(runner, temperature) for temperature in (0.0, 0.8)]
        assert runner.model_details().dtype == "bfloat16"
    assert engines == [True]
    assert all(said)


def answer(runner: Runner, temperature: float) -> str | None:
    request = ChatCompletionRequest(
        messages="Hello there!",
        model="default",
        max_tokens=8,
        temperature=temperature,
        top_k=20,
        top_p=0.9,
        frequency_penalty=0.1,
        logprobs=True,
        top_logprobs=2,
    )
    return runner.send_chat_completion_request(request).choices[0].message.content
