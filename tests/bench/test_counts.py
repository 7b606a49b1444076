"""A decode step launches few kernels, and no change may add one unnoticed."""

import mlx.core as mx
import pytest

from mistralrs_mlx.bench.counts import StepCounts, watched
from mistralrs_mlx.bench.metal import fuses, metal_graphs
from mistralrs_mlx.engine.params import SamplingParams
from tests.bench.lines import LINES
from tests.bench.stretched import counted, line, stepped
from tests.models.tiny import TINY

TARGETS = {  # slope and rest that a step of L layers may not exceed
    "LlamaForCausalLM": (13, 7),
    "Qwen3ForCausalLM": (16, 7),
    "Gemma3ForCausalLM": (18, 8),
    "Qwen3MoeForCausalLM": (24, 7),
    "MixtralForCausalLM": (24, 7),
}


def made(*shape: int) -> mx.array:
    """An array that is there already."""
    array = mx.ones(shape)
    mx.eval(array)
    return array


@pytest.fixture(autouse=True, scope="module")
def _fusing() -> None:
    with metal_graphs():
        if not fuses():
            pytest.skip("something compiled first, and MLX had found no compiler to do it with")


@pytest.mark.parametrize("architecture", TINY)
def test_no_architecture_launches_more_kernels_than_it_did(architecture: str) -> None:
    slope, rest = line(architecture)
    assert architecture in LINES, f"write down its line: ({slope:g}, {rest:g})"
    most, fixed = LINES[architecture]
    assert slope <= most + 0.01
    assert rest <= fixed


@pytest.mark.parametrize("architecture", TARGETS)
def test_the_recorded_lines_are_on_target(architecture: str) -> None:
    assert all(a <= b for a, b in zip(LINES[architecture], TARGETS[architecture], strict=True))


def test_a_ragged_batch_shares_one_whole_mask_and_one_pair_of_indices() -> None:
    slope, rest = line("LlamaForCausalLM", ragged=True)
    assert slope <= 13
    assert rest <= 9


def test_attention_of_few_queries_copies_a_mask_that_lacks_heads() -> None:
    q, k = made(2, 4, 1, 32), made(2, 2, 5, 32)
    lacking, whole = (mx.ones((2, heads, 1, 5), mx.bool_) for heads in (1, 4))
    mx.eval(lacking, whole)
    kernels = [
        stepped(lambda mask=mask: mx.fast.scaled_dot_product_attention(q, k, k, scale=1, mask=mask))
        for mask in (lacking, whole)
    ]
    assert [each.dispatches for each in kernels] == [2, 1]


def test_a_window_that_is_full_needs_one_kernel_for_its_mask() -> None:
    wide, narrow = (counted("MistralForCausalLM", 1, window=width) for width in (64, 4))
    assert narrow.dispatches - wide.dispatches == 1


@pytest.mark.parametrize("architecture", ["LlamaForCausalLM", "Qwen3MoeForCausalLM"])
def test_a_greedy_token_costs_one_kernel_on_the_vocabulary(architecture: str) -> None:
    assert counted(architecture, 1).vocabulary == 1


def test_logprobs_cost_more_kernels_on_the_vocabulary() -> None:
    asked = SamplingParams(temperature=0.0, top_logprobs=3)
    assert counted("LlamaForCausalLM", 1, params=asked).vocabulary > 3


@pytest.mark.parametrize("ragged", [False, True])
def test_the_host_waits_once_in_a_step(ragged: bool) -> None:
    assert counted("LlamaForCausalLM", 1, ragged=ragged).waits == 1


@pytest.mark.parametrize("compiled", [False, True])
def test_a_layer_of_llama_has_twenty_nodes(compiled: bool) -> None:
    one, two = (
        counted("LlamaForCausalLM", times, compiled=compiled).primitives for times in (1, 2)
    )
    assert two - one <= 2 * 20


def test_a_fused_operation_and_a_compiled_function_are_one_kernel_each() -> None:
    x, act = made(1, 4), mx.compile(lambda x: mx.sigmoid(x) * x)
    step = stepped(lambda: act(mx.fast.rms_norm(act(x), None, 1e-5)))
    assert step.dispatches == 3
    assert step.primitives == 3


def test_views_launch_no_kernel() -> None:
    x = made(2, 4)
    step = stepped(lambda: mx.exp(x.reshape(4, 2).T[1:])[None])
    assert (step.dispatches, step.primitives) == (1, 5)


def test_what_comes_after_the_last_product_is_on_the_vocabulary() -> None:
    x, head = made(1, 4), made(4, 9)
    assert stepped(lambda: mx.argmax(mx.exp((x + 1) @ head), axis=-1)).vocabulary == 2


def test_reading_an_array_twice_waits_once() -> None:
    ready = mx.ones(3)

    def step() -> None:
        mx.async_eval(ready + 1)
        mx.eval([ready])
        ready.tolist()

    assert watched(step).waits == 1
    assert watched(lambda: (step(), mx.ones(1).item())).waits == 2


def test_a_step_that_dispatches_nothing_is_no_step() -> None:
    with pytest.raises(RuntimeError, match="one graph, not 0"):
        watched(lambda: None)


def test_counting_leaves_everything_as_it_was() -> None:
    before = (mx.fast.rms_norm, mx.async_eval, mx.eval, mx.array.item, fuses())
    assert isinstance(counted("LlamaForCausalLM", 1), StepCounts)
    assert (mx.fast.rms_norm, mx.async_eval, mx.eval, mx.array.item, fuses()) == before
