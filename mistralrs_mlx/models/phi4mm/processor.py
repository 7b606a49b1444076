"""How Phi-4-multimodal sees and hears. NumPy only, so it may run on any thread.

Reference: microsoft/Phi-4-multimodal-instruct, `processing_phi4mm.py`. Two things are put right:
rates other than 8 and 16 kHz are resampled exactly, where that code divides by an integer, and
numbered placeholders take the media of their numbers, where it takes them in turn.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from PIL import Image

from mistralrs_mlx.errors import ConfigError, RequestError
from mistralrs_mlx.media.audio import resampled
from mistralrs_mlx.media.placeholders import Placeholder, Placeholders
from mistralrs_mlx.media.processing import Processor
from mistralrs_mlx.media.types import DecodedAudio, DecodedImage, Deferred, Media, digest

__all__ = ["Phi4MMProcessor"]

IMAGE_TOKEN, AUDIO_TOKEN = "<|endoftext10|>", "<|endoftext11|>"
FIXED: dict[str, object] = {  # in preprocessor_config.json: what the code below is made for
    "audio_compression_rate": 8,
    "audio_downsample_rate": 1,
    "audio_feat_stride": 1,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
    "patch_size": 14,
}
CROP = 448  # pixels on each side of what the tower sees at once
PATCH = 14
GRID = CROP // PATCH  # patches on each side of a crop; they are pooled two by two afterwards
SMALLEST = 10  # pixels that an edge must keep
MELS = 80
BINS = 257  # from 0 to 8 kHz
HIGHEST = 7690.0  # Hz
PREEMPHASIS = 0.97
FRAMES_PER_TOKEN = 8
FRAMES_AT_ONCE = 4096


class Phi4MMProcessor(Processor):
    """Pictures as crops of 448 x 448 pixels beside a view of the whole; sound as 80 log-mels."""

    def __init__(
        self, *, most_crops: int = 36, image_token: int = 200010, audio_token: int = 200011
    ) -> None:
        """Take the most crops that a picture may become, and the ids of the two tokens."""
        self._most_crops = most_crops
        self.placeholders = Placeholders(
            family="Phi4MM",
            kinds={
                "audio": Placeholder(text="<|audio_{}|>", prompt=AUDIO_TOKEN, token=audio_token),
                "image": Placeholder(text="<|image_{}|>", prompt=IMAGE_TOKEN, token=image_token),
            },
        )

    @classmethod
    def from_config(
        cls, config: Mapping[str, object], token_id: Callable[[str], int | None]
    ) -> "Phi4MMProcessor":
        """Read preprocessor_config.json, and ask the tokenizer for the ids of the two tokens.

        Raises `ConfigError` for settings with which no model was published.
        """
        for name, value in FIXED.items():
            if config.get(name, value) != value:
                raise ConfigError(f"{name} is {config[name]}; for Phi4MM it should be {value}")
        most = config.get("dynamic_hd", 36)
        if not isinstance(most, int) or most < 1:
            raise ConfigError(f"dynamic_hd is {most!r}; it should be how many crops there may be")
        image, audio = token_id(IMAGE_TOKEN), token_id(AUDIO_TOKEN)
        if image is None or audio is None:
            raise ConfigError(
                f"the tokenizer lacks {IMAGE_TOKEN} or {AUDIO_TOKEN}, which stand for media; use "
                "the one that came with the model"
            )
        return cls(most_crops=most, image_token=image, audio_token=audio)

    def image(self, image: DecodedImage) -> Media:
        """Cut a picture into crops.

        pixels: (crops + 1, 448, 448, 3) float32 in [-1, 1]. The whole picture comes first, then the
            crops, row by row.
        mask: (crops + 1, 32, 32) float32; 0 for patches that are only padding.
        size: (2,) int32; height and width of all the crops together, in pixels.
        """
        padded, mask = _fitted(image.pixels, self._most_crops)
        useful = mask[::2, ::2]  # what pooling leaves of the mask
        # The whole picture's 16 x 16 vectors and the crops', a newline for each row, a separator.
        tokens = 16 * 16 + 16 + 1 + int(useful.sum()) + int(useful[:, 0].sum())
        return Media(
            kind="image",
            arrays=Deferred(
                pixels=partial(_pixels, padded),
                mask=partial(_masks, mask),
                size=partial(np.array, padded.shape[:2], np.int32),
            ),
            tokens=tokens,
            digest=digest(image.pixels, "phi4mm image", self._most_crops),
        )

    def audio(self, clip: DecodedAudio) -> Media:
        """Compute features: (frames, 80) float32, a hundred frames a second."""
        if clip.rate < 8000:
            raise RequestError(
                f"Unsupported sample rate: {clip.rate}. Phi4MM hears 8000 samples a second and "
                "more; resample the clip"
            )
        features = _log_mels(resampled(clip, 16000 if clip.rate >= 16000 else 8000))
        return Media(
            kind="audio",
            arrays={"features": features},
            tokens=-(-len(features) // FRAMES_PER_TOKEN),
            digest=digest(clip.samples, "phi4mm audio", clip.rate),
        )


def _fitted(pixels: np.ndarray, most_crops: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale a picture into a grid of crops; return it, padded with white, and its patch mask."""
    height, width, _ = pixels.shape
    across, down = _grid(width, height, most_crops)
    widest, highest = across * CROP, down * CROP
    if widest / width < highest / height:
        size = (widest, int(height * (widest / width)))
    else:
        size = (int(width * (highest / height)), highest)
    if min(size) < SMALLEST:
        raise RequestError(
            f"it is {width} x {height} pixels, which would be scaled to {size[0]} x {size[1]}; "
            f"Phi4MM needs at least {SMALLEST} on each side. Cut it into less narrow pieces"
        )
    picture = Image.fromarray(pixels)
    if size != (width, height):
        picture = picture.resize(size, Image.Resampling.BILINEAR)
    padded = np.full((highest, widest, 3), 255, np.uint8)
    padded[: size[1], : size[0]] = np.asarray(picture)
    mask = np.zeros((down * GRID, across * GRID), np.float32)
    mask[: -(-size[1] // PATCH), : -(-size[0] // PATCH)] = 1
    return padded, mask


def _grid(width: int, height: int, most: int) -> tuple[int, int]:
    """How many crops lie across and down: as many as needed, or the closest shape of few enough."""
    across, down = math.ceil(width / CROP), math.ceil(height / CROP)
    if across * down <= most:
        return across, down
    shapes = [(i, j) for i in range(1, most + 1) for j in range(1, most // i + 1)]
    best, closest = (1, 1), math.inf
    for shape in sorted(shapes, key=lambda shape: shape[0] * shape[1]):
        apart = abs(width / height - shape[0] / shape[1])
        half_filled = width * height > 0.5 * CROP * CROP * shape[0] * shape[1]
        if apart < closest or (apart == closest and half_filled):
            best, closest = shape, apart
    return best


def _pixels(padded: np.ndarray) -> np.ndarray:
    values = (padded.astype(np.float32) / 255 - np.float32(0.5)) / np.float32(0.5)
    whole = _view(_view(values, axis=0), axis=1)
    return np.concatenate([whole[None], _tiles(values, CROP)])


def _masks(mask: np.ndarray) -> np.ndarray:
    return np.concatenate([np.ones((1, GRID, GRID), np.float32), _tiles(mask, GRID)])


def _view(values: np.ndarray, axis: int) -> np.ndarray:
    """Shrink an axis to 448 by cubic interpolation (a = -0.75) between the nearest four pixels.

    Its length is a multiple of 448. Thus new pixels fall onto old ones, or halfway between two.
    """
    step = values.shape[axis] // CROP
    starts = np.arange(CROP) * step + (step - 1) // 2
    if step % 2:
        return np.asarray(np.take(values, starts, axis))
    near, far = np.float32(0.59375), np.float32(-0.09375)
    taps = [np.take(values, starts + by, axis, mode="clip") for by in (-1, 0, 1, 2)]
    return np.asarray(far * (taps[0] + taps[3]) + near * (taps[1] + taps[2]))


def _tiles(values: np.ndarray, edge: int) -> np.ndarray:
    """Cut (H, W, ...) into squares: (tiles, edge, edge, ...), row by row."""
    down, across = values.shape[0] // edge, values.shape[1] // edge
    cut = values.reshape(down, edge, across, edge, *values.shape[2:]).swapaxes(1, 2)
    return cut.reshape(down * across, edge, edge, *values.shape[2:])


@dataclass(frozen=True, kw_only=True)
class _Rate:
    """How sound of one rate is cut into frames of 25 ms, one every 10 ms."""

    rate: int
    window: int
    hop: int
    fft: int


_RATES = {
    8000: _Rate(rate=8000, window=200, hop=80, fft=256),
    16000: _Rate(rate=16000, window=400, hop=160, fft=512),
}


def _log_mels(clip: DecodedAudio) -> np.ndarray:
    """Log-mel energies as SpeechLib computes them; what does not fill a last frame is left out."""
    rate = _RATES[clip.rate]
    if len(clip.samples) < rate.window:
        raise RequestError(
            f"it has {len(clip.samples)} samples at {clip.rate} Hz; Phi4MM needs at least "
            f"{rate.window}, which is 25 ms"
        )
    frames = np.lib.stride_tricks.sliding_window_view(clip.samples, rate.window)[:: rate.hop]
    return np.concatenate([_energies(some, rate) for some in _batches(frames)])


def _batches(frames: np.ndarray) -> Iterator[np.ndarray]:
    """Give a few frames at a time, since their spectra are large."""
    for start in range(0, len(frames), FRAMES_AT_ONCE):
        yield frames[start : start + FRAMES_AT_ONCE]


def _energies(frames: np.ndarray, rate: _Rate) -> np.ndarray:
    """Turn (n, window) samples into (n, 80) logarithms; quiet bands are 0."""
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    sharper = (frames - np.float32(PREEMPHASIS) * before) * np.float32(32768)
    spectrum = np.fft.rfft(np.hamming(rate.window) * sharper, n=rate.fft).astype(np.complex64)
    if rate.rate == 8000:  # its upper half, from 4 kHz on, counts as silent
        spectrum = np.pad(spectrum[:, :-1], ((0, 0), (0, BINS - rate.fft // 2)))
    power = np.abs(spectrum) ** 2
    return np.asarray(np.log(np.maximum(power @ _mel_bands(), 1)), np.float32)


@cache
def _mel_bands() -> np.ndarray:
    """Triangles that are even in mel, over the bins of 16 kHz: (257, 80)."""
    hertz = np.arange(BINS) * 16000 / 512
    mels = 1127 * np.log1p(hertz / 700)
    edges = np.linspace(0, 1127 * np.log1p(HIGHEST / 700), MELS + 2)
    bands = np.maximum(1 - np.abs(mels[:, None] - edges[1:-1]) / edges[1], 0)
    bands[int(HIGHEST * 512 / 16000 + 0.5) :] = 0  # SpeechLib leaves out the bin of its highest
    return np.asarray(bands, np.float32)
