"""Race drafts against plain decoding: `python benchmarks/speculation.py [--model M] [--draft D]`.

Both runners live in one process and answer each question one after the other, several times; what
counts is the median of the ratios. Answers are compared: they have to be the same.
"""

import argparse
import time
from statistics import median

import mlx.core as mx

from mistralrs_mlx import ChatCompletionRequest, Runner, Which, demo_model
from mistralrs_mlx.cache.step import Step
from mistralrs_mlx.runtime.host import Host

TIDE = (
    "The tide had been out since noon, and the boats lay on their sides in the mud. Old Marten "
    "walked along the quay with a lantern that he did not need, counting the hulls. There were "
    "eleven of them, and one was missing. He counted again from the other end, slowly, and came "
    "to the same number. The missing one was the Heron, and she belonged to his brother."
)
CODE = """def total(items):
    result = 0
    for item in items:
        if item.price > 0:
            result = result + item.price * item.count
    return result


def average(items):
    count = 0
    for item in items:
        if item.price > 0:
            count = count + item.count
    return total(items) / count
"""
TASKS = {
    "copy a text": f"Repeat the following text exactly, word for word.\n\n{TIDE}",
    "edit code": "Rename the variable `result` to `amount` in this Python code. Answer with the "
    f"whole code.\n\n```python\n{CODE}```",
    "tell a story": "Tell a short story about a lighthouse keeper and a whale.",
}
WAYS = [("copy a text", 0.0, 1), ("copy a text", 0.7, 1), ("copy a text", 0.0, 4)]
WAYS += [("edit code", 0.0, 1), ("tell a story", 0.0, 1), ("tell a story", 1.0, 1)]


class Watched:
    """A runner whose model counts its passes."""

    def __init__(self, runner: Runner) -> None:
        self.passes = 0
        self._runner = runner
        host = runner._roster.host(None)
        assert isinstance(host, Host)
        model, inner = host.engine.model, host.engine.model.hidden

        def hidden(embeddings: mx.array, step: Step) -> mx.array:
            self.passes += 1
            return inner(embeddings, step)

        model.hidden = hidden  # type: ignore[method-assign]

    def answer(self, task: str, temperature: float, rows: int, most: int) -> tuple[str, int, float]:
        """The text, how many tokens a row has, and the seconds that they took after the prompt."""
        self.passes = 0
        request = ChatCompletionRequest(
            model="default",
            messages=TASKS[task],
            max_tokens=most,
            temperature=temperature,
            seed=7,
            n_choices=rows,
        )
        begin = time.perf_counter()
        response = self._runner.send_chat_completion_request(request)
        seconds = time.perf_counter() - begin - response.usage.total_prompt_time_sec
        text = "\n".join(str(choice.message.content) for choice in response.choices)
        return text, response.usage.completion_tokens // rows, seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="folder or id; the demo model if not given")
    parser.add_argument("--draft", help="folder or id of a draft model, instead of prompt lookup")
    parser.add_argument("--most", type=int, default=8, help="tokens of the longest draft")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=120, help="of the longest answer")
    given = parser.parse_args()
    which = Which.Plain(model_id=given.model) if given.model else demo_model()
    plain = Watched(Runner(which=which))
    drafted = Watched(_drafted(which, given.draft, given.most))
    print("| task | temperature | rows | tokens a pass | speed, times plain | same answer |")
    print("|---|--:|--:|--:|--:|---|")
    for way in WAYS:
        plain.answer(*way, 4)
        ratios = []
        for _ in range(given.rounds):
            one = plain.answer(*way, given.tokens)
            other = drafted.answer(*way, given.tokens)
            ratios.append(one[2] / other[2])
        gain = (other[1] - 1) / max(1, drafted.passes - 1)  # the prompt's pass gives one token
        task, temperature, rows = way
        cells = [task, f"{temperature}", f"{rows}", f"{gain:.2f}", f"{median(ratios):.2f}"]
        print("|", " | ".join([*cells, "yes" if one[0] == other[0] else "NO"]), "|", flush=True)


def _drafted(which: Which, draft: str | None, most: int) -> Runner:
    if draft is None:
        return Runner(which=which, prompt_lookup=most)
    other = which if draft == "itself" else Which.Plain(model_id=draft)
    return Runner(which=which, which_draft=other, speculative_gamma=most)


if __name__ == "__main__":
    main()
