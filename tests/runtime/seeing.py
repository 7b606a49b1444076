"""Short ways to ask a `Runner` about pictures and clips."""

from base64 import b64encode
from typing import Any

import numpy as np
from PIL import Image

from mistralrs_mlx import Runner
from tests.media.files import encoded, sound, sound_file

from .asking import chat

__all__ = ["ask", "audio", "clip_file", "image", "picture", "png", "text", "turn", "url"]

Part = dict[str, Any]


def picture(seed: int = 0, width: int = 60, height: int = 40) -> Image.Image:
    """Noise: pictures of other seeds look different."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def png(seed: int = 0, **size: int) -> bytes:
    return encoded(picture(seed, **size), "PNG")


def clip_file(seed: int = 0, seconds: float = 0.4, rate: int = 16000) -> bytes:
    """A tone under some noise, as a WAV file."""
    samples = sound(seconds, rate)
    noise = np.random.default_rng(seed).normal(0, 0.1, len(samples))
    return sound_file(samples + noise.astype(np.float32), rate)


def url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{b64encode(data).decode()}"


def image(source: object = 0, **size: int) -> Part:
    """A part with the picture of a seed, or from any source."""
    if isinstance(source, int):
        source = url(png(source, **size))
    return {"type": "image_url", "image_url": {"url": source}}


def audio(source: object = 0, **options: Any) -> Part:
    """A part with the clip of a seed, or from any source."""
    if isinstance(source, int):
        source = url(clip_file(source, **options), "audio/wav")
    return {"type": "audio_url", "audio_url": {"url": source}}


def text(words: str) -> Part:
    return {"type": "text", "text": words}


def turn(*parts: Part | str) -> dict[str, Any]:
    """A user's message; texts may stand for their parts."""
    return {"role": "user", "content": [text(p) if isinstance(p, str) else p for p in parts]}


def ask(runner: Runner, *parts: Part | str, **options: Any) -> Any:
    """A greedy answer of some tokens to one message, unless the options say otherwise."""
    options = {"messages": [turn(*parts)], "ignore_eos": True, "logprobs": True, **options}
    return chat(runner, **options)
