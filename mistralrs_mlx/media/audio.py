"""Clips: from a file's bytes or an array to one channel of float32."""

import struct
from io import BytesIO

import numpy as np
import soundfile
import soxr

from mistralrs_mlx.errors import RequestError

from .limits import Limits
from .sources import read_source
from .types import DecodedAudio

__all__ = ["open_audio", "resampled"]

# With a signature, and what people have. libsndfile also takes some files that merely look so.
FORMATS = ("AIFF", "AU", "CAF", "FLAC", "MP3", "OGG", "RF64", "W64", "WAV", "WAVEX")
BLOCK = 1 << 16  # samples that are read at once
SLACK = 4096  # samples by which a header may err; MP3's do
UNKNOWN = 1 << 62  # lengths from here on stand for "not known before the end"
HIGHEST_RATE = 768_000
SIZES = {b"RIFF": "<I", b"FORM": ">I"}  # how a file's head writes its length, less 8 bytes


def open_audio(source: object, limits: Limits) -> DecodedAudio:
    """Read a clip from any source, or from a pair: an array and its samples per second.

    Channels are averaged. Raises `RequestError` for what is no sound, is broken or too long.
    """
    match source:
        case (np.ndarray() as samples, int(rate)):
            return _from_array(samples, rate, limits)
        case np.ndarray():
            raise RequestError("it is an array without its rate; give (array, samples_per_second)")
    data = read_source(source, limits)
    _refuse_cut(data)
    try:
        with soundfile.SoundFile(_Bytes(data)) as file:
            return _decoded(file, limits)
    except (soundfile.SoundFileError, ValueError, TypeError, OSError, MemoryError) as error:
        if isinstance(error, RequestError):
            raise
        raise RequestError(
            "unsupported feature: core (probe): no suitable format reader found, for "
            f"{len(data)} bytes that begin with {data[:8]!r}. Give a WAV, FLAC, MP3 or OGG file"
        ) from error


def resampled(clip: DecodedAudio, rate: int) -> DecodedAudio:
    """Bring a clip to another rate."""
    if clip.rate == rate:
        return clip
    samples = soxr.resample(clip.samples, clip.rate, rate, quality="HQ")
    return DecodedAudio(samples=np.asarray(samples, dtype=np.float32), rate=rate)


class _Bytes(BytesIO):
    """Stays where it is when a broken file's decoder seeks nonsense, as files in C do."""

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


def _refuse_cut(data: bytes) -> None:
    """Refuse a WAV or AIFF file that is shorter than it says; their decoder would not notice."""
    form = SIZES.get(data[:4])
    if form is None or len(data) < 12:
        return
    (size,) = struct.unpack_from(form, data, 4)
    if size < 0xFFFF_FF00 and size + 8 > len(data) + 1:  # those near 2**32: written to a pipe
        raise RequestError(
            f"it is cut short: {len(data)} bytes of {size + 8}. Copy or download it again"
        )


def _decoded(file: soundfile.SoundFile, limits: Limits) -> DecodedAudio:
    if file.format not in FORMATS:
        raise RequestError(f"it is a file of the format {file.format}; give WAV, FLAC, MP3 or OGG")
    known = file.frames if 0 <= file.frames < UNKNOWN else 0
    _refuse_long(known, file.samplerate, limits)
    pieces, count = [], 0
    while True:
        block = file.read(BLOCK, dtype="float32", always_2d=True)
        if not len(block):
            break
        count += len(block)
        _refuse_long(count, file.samplerate, limits)
        pieces.append(_mono(block))
    if count + SLACK < known:
        raise RequestError(f"it is cut short: {count} samples of {known}. Copy it again")
    samples = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    return _checked(samples, file.samplerate)


def _refuse_long(count: int, rate: int, limits: Limits) -> None:
    if not 1 <= rate <= HIGHEST_RATE:
        raise RequestError(f"it has {rate} samples a second; 8000 to {HIGHEST_RATE} are read")
    if count > limits.audio_seconds * rate or count > limits.audio_samples:
        raise RequestError(
            f"it lasts {count / rate:.0f} s ({count} samples); at most "
            f"{limits.audio_seconds:.0f} s and {limits.audio_samples} samples are read. Split it"
        )


def _mono(block: np.ndarray) -> np.ndarray:
    """Average the channels of (samples, channels)."""
    one = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float64)
    return np.asarray(one, dtype=np.float32)


def _checked(samples: np.ndarray, rate: int) -> DecodedAudio:
    if not len(samples):
        raise RequestError("it has no samples; there should be some sound")
    if not np.isfinite(samples).all():
        raise RequestError("it has samples that are no numbers; write it again, as 16-bit integers")
    return DecodedAudio(samples=samples, rate=rate)


def _from_array(samples: np.ndarray, rate: int, limits: Limits) -> DecodedAudio:
    if samples.ndim not in (1, 2) or samples.dtype.kind not in "iuf":
        raise RequestError(
            f"its array is of {samples.dtype} and the shape {samples.shape}; it should be "
            "(samples,) or (samples, channels), of floats or integers"
        )
    table = samples[:, None] if samples.ndim == 1 else samples
    if not table.shape[1] or table.shape[1] > table.shape[0] > 0:
        raise RequestError(f"its array has the shape {samples.shape}; channels come last")
    _refuse_long(len(table), rate, limits)
    return _checked(_mono(_scaled(table)), rate)


def _scaled(samples: np.ndarray) -> np.ndarray:
    """Bring integers to [-1, 1): unsigned ones have their silence in the middle."""
    if samples.dtype.kind == "f":
        return samples
    half = 2.0 ** (8 * samples.dtype.itemsize - 1)
    middle = half if samples.dtype.kind == "u" else 0.0
    return (samples - middle) / half
