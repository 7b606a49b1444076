"""Pictures and clips through a `Runner`, on a tiny Phi-4-multimodal with real tiles and mels."""

import gc
import json
import shutil
import threading
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import pytest

from mistralrs_mlx import MultimodalArchitecture, Runner, VisionArchitecture, Which
from mistralrs_mlx.engine.worker import worker
from mistralrs_mlx.models.phi4mm.image import ImageEmbedder
from mistralrs_mlx.models.phi4mm.model import Phi4MM
from mistralrs_mlx.runtime import chat as chatting
from tests.media.files import sound
from tests.models.phi4mm_tiny import write_tiny_phi4mm
from tests.tiny_checkpoint import write_tiny_llama

from .asking import content, says
from .seeing import ask, audio, clip_file, image, picture, png, turn, url

ONE_TILE = 16 * 16 + 16 + 1 + 16 * 16 + 16  # tokens of a picture of 448 x 448
README = [audio(), image(), "<|audio_1|><|image_1|>What is in both?"]
REQUESTS: dict[str, list[Any]] = {
    "text": ["What is this?"],
    "image": [image(1), "What is this?"],
    "audio": [audio(1), "What is this?"],
    "both": README,
}
TOOLS = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}<|im_start|>assistant\n{# <tool_call></tool_call> #}"
)
CALL = '<tool_call>\n{"name": "look", "arguments": {}}\n</tool_call>'
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_phi4mm(tmp_path_factory.mktemp("hub") / "tiny-phi4mm")


def runner_on(folder: Path, *, which: dict[str, Any] | None = None, **options: Any) -> Runner:
    selected = Which.MultimodalPlain(model_id=str(folder), **(which or {}))
    return Runner(which=selected, **options)


@pytest.fixture(scope="module")
def runner(folder: Path) -> Iterator[Runner]:
    with runner_on(folder, which={"arch": MultimodalArchitecture.Phi4MM}) as runner:
        yield runner


def text_model(folder: Path, like: Path) -> Path:
    """A Llama with the vocabulary of another checkpoint."""
    size = json.loads((like / "config.json").read_text())["vocab_size"]
    write_tiny_llama(folder, vocab_size=size, max_position_embeddings=8192)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(like / name, folder / name)
    return folder


@pytest.fixture
def encodings(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shape of each picture that is encoded from here on."""
    shapes = []
    encode = ImageEmbedder.__call__

    def counted(self: ImageEmbedder, pixels: mx.array, *rest: mx.array) -> mx.array:
        shapes.append(pixels.shape)
        return encode(self, pixels, *rest)

    monkeypatch.setattr(ImageEmbedder, "__call__", counted)
    return shapes


def cached(response: Any) -> int:
    details = response.usage.prompt_tokens_details
    return 0 if details is None else details.cached_tokens


def alike(one: Any, other: Any) -> bool:
    """Whether two answers are the same, and were as likely at every token."""
    chances = [
        np.array([each.logprob for each in answer.choices[0].logprobs.content])
        for answer in (one, other)
    ]
    return content(one) == content(other) and np.allclose(*chances, rtol=0, atol=1e-4)


def tokens(runner: Runner, *parts: Any, **options: Any) -> int:
    return ask(runner, *parts, max_tokens=1, **options).usage.prompt_tokens


def together(runner: Runner, asked: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The answers to requests that run at once."""
    said: dict[str, Any] = {}
    ready = threading.Barrier(len(asked))

    def one(name: str, options: dict[str, Any]) -> None:
        ready.wait()
        said[name] = ask(runner, **options)

    threads = [threading.Thread(target=one, args=item) for item in asked.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


def test_the_example_of_mistral_rs_runs(folder: Path) -> None:
    which = Which.VisionPlain(model_id=str(folder), arch=VisionArchitecture.Phi4MM)
    with Runner(which=which) as runner:
        answer = ask(runner, *README)
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 8
    assert answer.usage.prompt_tokens > ONE_TILE - 200


@pytest.mark.parametrize("quantized", [None, "8"])
def test_rows_of_every_kind_say_together_what_each_says_alone(
    folder: Path, quantized: str | None
) -> None:
    sampled = {"temperature": 1.0, "seed": 7, "max_tokens": 24}
    asked = {
        f"{name}{kind}": {"messages": [turn(*parts)], "max_tokens": 24, **options}
        for kind, options in {"": {}, " sampled": sampled}.items()
        for name, parts in REQUESTS.items()
    }
    with runner_on(folder, in_situ_quant=quantized, prefix_cache_n=0) as runner:
        alone = {name: ask(runner, **options) for name, options in asked.items()}
        at_once = together(runner, asked)
    for name, answer in alone.items():
        assert alike(answer, at_once[name])
        assert sum(alike(answer, other) for other in alone.values()) == 1


@pytest.mark.parametrize("name", REQUESTS)
def test_only_media_bring_an_adapter(
    runner: Runner, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    adapted = ask(runner, *REQUESTS[name])
    monkeypatch.setattr(Phi4MM, "slot_for", lambda *_: 0)
    with runner_on(folder) as bare:
        assert alike(adapted, ask(bare, *REQUESTS[name])) == (name == "text")


def test_usage_counts_what_media_stand_for(runner: Runner) -> None:
    bare = tokens(runner, "Hi")
    assert tokens(runner, image(0, width=448, height=448), "Hi") == bare + ONE_TILE
    assert tokens(runner, audio(0, seconds=0.5), "Hi") == bare + 6  # 48 frames
    both = tokens(runner, image(0, width=448, height=448), audio(0, seconds=0.5), "Hi")
    assert both == bare + ONE_TILE + 6


def test_missing_placeholders_are_put_in_front(runner: Runner) -> None:
    bare = ask(runner, image(1), audio(2), audio(3), "Hi")
    named = ask(runner, image(1), audio(2), audio(3), "<|audio_1|><|audio_2|><|image_1|>Hi")
    assert alike(bare, named)
    assert bare.usage.prompt_tokens == named.usage.prompt_tokens


def test_a_numbered_placeholder_takes_the_medium_of_its_number(runner: Runner) -> None:
    crossed = ask(runner, image(1), image(2), "<|image_2|><|image_1|>Hi")
    straight = ask(runner, image(2), image(1), "<|image_1|><|image_2|>Hi")
    assert alike(crossed, straight)
    assert not alike(crossed, ask(runner, image(1), image(2), "Hi"))


def test_media_of_several_turns_count_over_the_conversation(runner: Runner) -> None:
    talk = [
        turn(image(1), audio(1), "And this?"),
        {"role": "assistant", "content": "A tone."},
        turn(image(2), "Or <|image_2|> this?"),
    ]
    other = [*talk[:2], turn(image(3), "Or <|image_2|> this?")]
    assert not alike(ask(runner, messages=talk), ask(runner, messages=other))


def test_a_second_turn_about_a_picture_computes_little(
    runner: Runner, encodings: list[tuple[int, ...]]
) -> None:
    talk = [turn(image(11), "What is this?")]
    first = ask(runner, messages=talk)
    talk += [{"role": "assistant", "content": content(first)}, turn("And its colors?")]
    second = ask(runner, messages=talk)
    assert cached(second) >= first.usage.prompt_tokens - 1
    assert len(encodings) == 1


def test_another_picture_is_never_taken_for_a_known_one(folder: Path, runner: Runner) -> None:
    with runner_on(folder, prefix_cache_n=0) as forgetful:
        for seed in (21, 22, 21):
            known = ask(runner, image(seed), "What is this?")
            assert alike(known, ask(forgetful, image(seed), "What is this?"))
    assert not alike(known, ask(runner, image(22), "What is this?"))


def test_a_clip_that_was_encoded_otherwise_is_not_taken_for_itself(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As in a checkpoint without adapters, where nothing else tells the two requests apart.
    monkeypatch.setattr(Phi4MM, "slot_for", lambda *_: 0)
    with runner_on(folder) as runner, runner_on(folder, prefix_cache_n=0) as forgetful:
        clip = audio(1, seconds=8.0)  # beyond the border of the rope, as the whole is
        ask(runner, clip, "Hi")
        both = ask(runner, clip, image(1), "Hi")
        assert alike(both, ask(forgetful, clip, image(1), "Hi"))
    assert cached(both) == 1  # what comes before the clip


def test_a_picture_in_another_place_is_not_encoded_again(
    runner: Runner, encodings: list[tuple[int, ...]]
) -> None:
    ask(runner, image(31), "What is this?")
    ask(runner, "Hello!", image(32), image(31), "Which is older?")
    assert len(encodings) == 2


@pytest.mark.parametrize(("most", "times"), [(None, 1), (0, 2)])
def test_the_encoder_cache_has_a_limit(
    folder: Path, encodings: list[tuple[int, ...]], most: int | None, times: int
) -> None:
    which = {"encoder_cache_memory_bytes": most}
    with runner_on(folder, which=which, prefix_cache_n=0) as runner:
        assert alike(ask(runner, *REQUESTS["image"]), ask(runner, *REQUESTS["image"]))
    assert len(encodings) == times


def test_long_edges_are_scaled_down_to_max_edge(
    folder: Path, encodings: list[tuple[int, ...]]
) -> None:
    with runner_on(folder, which={"max_edge": 400}) as runner:
        ask(runner, image(1, width=900, height=500), "Hi")
    assert [shape[0] for shape in encodings] == [2]  # the whole, and one tile


def test_prompts_of_several_chunks_say_what_they_would_without_a_cache(folder: Path) -> None:
    parts = [image(1, width=500, height=500), audio(1, seconds=2.0), image(2), "Which?"]
    with runner_on(folder, prefix_cache_n=0) as runner:
        assert tokens(runner, *parts) > 3 * 512
        said = ask(runner, *parts, max_tokens=2)
    with runner_on(folder, no_kv_cache=True) as runner:
        assert alike(said, ask(runner, *parts, max_tokens=2))


def test_an_answer_goes_on_beyond_the_border_of_its_rope(tmp_path: Path, runner: Runner) -> None:
    border = {"original_max_position_embeddings": tokens(runner, *REQUESTS["image"]) + 3}
    folder = write_tiny_phi4mm(tmp_path / "model", **border)
    with runner_on(folder) as short, runner_on(folder, no_kv_cache=True) as plain:
        assert alike(ask(short, *REQUESTS["image"]), ask(plain, *REQUESTS["image"]))


@pytest.mark.parametrize("way", ["prompt_lookup", "text model", "the model itself"])
def test_drafts_change_no_answer_about_media(folder: Path, tmp_path: Path, way: str) -> None:
    drafting: dict[str, Any] = {"prompt_lookup": 4}
    if way != "prompt_lookup":
        itself = Which.MultimodalPlain(model_id=str(folder))
        blind = Which.Plain(model_id=str(text_model(tmp_path, folder)))
        draft = itself if way == "the model itself" else blind
        drafting = {"which_draft": draft, "speculative_gamma": 4}
    asked = {name: {"messages": [turn(*parts)]} for name, parts in REQUESTS.items()}
    with runner_on(folder) as plain, runner_on(folder, **drafting) as guessing:
        for name, answer in together(guessing, asked).items():
            assert alike(ask(plain, **asked[name]), answer)


def test_a_stream_says_the_same(runner: Runner) -> None:
    chunks = list(ask(runner, *README, stream=True))
    streamed = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert streamed == content(ask(runner, *README))
    assert chunks[-1].usage.prompt_tokens == ask(runner, *README).usage.prompt_tokens


def test_choices_share_their_pictures(runner: Runner, encodings: list[tuple[int, ...]]) -> None:
    said = ask(runner, image(41), "What?", n_choices=3, temperature=1.0, seed=5)
    alone = ask(runner, image(41), "What?", temperature=1.0, seed=5)
    texts = [choice.message.content for choice in said.choices]
    assert len(set(texts)) == 3
    assert alike(said, alone)
    assert (said.usage.prompt_tokens, len(encodings)) == (alone.usage.prompt_tokens, 1)


def test_logprobs_are_those_of_the_answer(runner: Runner) -> None:
    answer = ask(runner, *README, logprobs=True, top_logprobs=2)
    found = answer.choices[0].logprobs.content
    assert len(found) == 8
    assert all(each.logprob == max(top.logprob for top in each.top_logprobs) for each in found)


def test_a_grammar_holds_an_answer_about_media(runner: Runner) -> None:
    assert content(says(runner, "Two cats.", messages=[turn(*README)])) == "Two cats."


def test_stop_strings_end_an_answer_about_media(runner: Runner) -> None:
    messages = [turn(*README)]
    answer = says(runner, "Two cats.", messages=messages, stop_seqs=["ca"])
    assert (content(answer), answer.choices[0].finish_reason) == ("Two ", "stop")


def test_a_call_is_read_from_an_answer_about_media(folder: Path) -> None:
    with runner_on(folder, chat_template=TOOLS) as runner:
        answer = says(runner, CALL, messages=[turn(*README)], tool_schemas=[LOOK])
    assert answer.choices[0].message.tool_calls[0].function.name == "look"


def test_media_are_still_there_when_a_tool_has_answered(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = []
    build = chatting.chat_prompt

    def watched(*arguments: Any) -> Any:
        prompt = build(*arguments)
        kinds.append([medium.kind for medium in prompt.media])
        return prompt

    monkeypatch.setattr(chatting, "chat_prompt", watched)
    tools = {"look": lambda name, arguments: "It is red."}
    with runner_on(folder, chat_template=TOOLS, tool_callbacks=tools) as runner:
        says(runner, CALL, messages=[turn(*README)], max_tool_rounds=1)
    assert kinds == [["audio", "image"]] * 2


def test_every_source_of_a_picture_shows_the_same(runner: Runner, tmp_path: Path) -> None:
    path = tmp_path / "a picture.png"
    path.write_bytes(png(51))
    shown = [
        image(str(path)),
        image(path.as_uri()),
        image(url(png(51))),
        {"type": "image_url", "image_url": f" {path} "},
        {"type": "image", "image": path},
        {"type": "image", "image": png(51)},
        {"type": "image", "image": picture(51)},
        {"type": "image", "image": np.asarray(picture(51))},
    ]
    answers = [ask(runner, part, "What is this?") for part in shown]
    assert all(alike(answers[0], answer) for answer in answers)
    assert all(cached(answer) == answer.usage.prompt_tokens - 1 for answer in answers[1:])


def test_every_source_of_a_clip_sounds_the_same(runner: Runner, tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(clip_file(51))
    coded = b64encode(clip_file(51)).decode()
    heard = [
        audio(str(path)),
        audio(path.as_uri()),
        audio(url(clip_file(51), "audio/wav")),
        {"type": "input_audio", "input_audio": {"data": coded, "format": "wav"}},
        {"type": "audio", "audio": clip_file(51)},
    ]
    answers = [ask(runner, part, "What is this?") for part in heard]
    assert all(alike(answers[0], answer) for answer in answers)
    assert all(cached(answer) == answer.usage.prompt_tokens - 1 for answer in answers[1:])


def test_samples_are_given_with_their_rate(runner: Runner) -> None:
    part = {"type": "audio", "audio": (sound(0.5, 16000), 16000)}
    assert tokens(runner, part, "Hi") == tokens(runner, "Hi") + 6


def test_memory_comes_back_when_answers_about_media_are_done(folder: Path) -> None:
    most = {"encoder_cache_memory_bytes": 0}

    def active() -> int:
        gc.collect()  # of what earlier tests have left, too
        return worker().call(mx.get_active_memory)

    with runner_on(folder, which=most, prefix_cache_n=0) as runner:
        ask(runner, *README)
        before = active()
        for seed in range(3):
            ask(runner, image(seed), audio(seed), "What is this?")
            stream = ask(runner, image(seed), "What?", stream=True, max_tokens=200)
            next(stream)
            stream.close()
        ask(runner, "Hi")
        assert abs(active() - before) <= before / 100
