"""Clips of every form come out as one channel of float32."""

import struct

import numpy as np
import pytest

from mistralrs_mlx.errors import RequestError
from mistralrs_mlx.media.audio import _Bytes, open_audio, resampled
from mistralrs_mlx.media.limits import Limits
from mistralrs_mlx.media.types import DecodedAudio
from tests.media.files import sound, sound_file

LOSSLESS = [
    ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "PCM_32"), ("WAV", "FLOAT"), ("WAV", "DOUBLE"),
    ("WAVEX", "PCM_16"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("AIFF", "PCM_16"),
    ("AU", "PCM_16"),
]  # fmt: skip
LOSSY = [("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None), ("WAV", "PCM_U8"), ("WAV", "ULAW")]


def clip(source: object) -> DecodedAudio:
    decoded = open_audio(source, Limits())
    assert decoded.samples.dtype == np.float32
    assert decoded.samples.ndim == 1
    return decoded


@pytest.mark.parametrize(("form", "subtype"), LOSSLESS)
def test_lossless_formats_keep_every_sample(form: str, subtype: str) -> None:
    decoded = clip(sound_file(sound(), form=form, subtype=subtype))
    assert decoded.rate == 16000
    assert np.abs(decoded.samples - sound()).max() < 2**-15


@pytest.mark.parametrize(("form", "subtype"), LOSSY)
def test_lossy_formats_keep_the_sound(form: str, subtype: str | None) -> None:
    decoded = clip(sound_file(sound(1.0), form=form, subtype=subtype))
    assert len(decoded.samples) == pytest.approx(16000, abs=1200)
    assert np.sqrt(np.mean(decoded.samples**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def test_sixteen_bits_are_divided_by_32768() -> None:
    samples = np.array([-32768, -1, 0, 1, 32767], np.int16)
    assert clip(sound_file(samples)).samples.tolist() == (samples / 32768).tolist()


@pytest.mark.parametrize("channels", [2, 6])
def test_channels_are_averaged(channels: int) -> None:
    many = np.random.randint(-(2**15), 2**15, (3000, channels)).astype(np.int16)
    expected = (many / 32768).mean(axis=1)
    assert np.allclose(clip(sound_file(many)).samples, expected, atol=1e-7)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 192000])
def test_any_rate_is_read(rate: int) -> None:
    assert clip(sound_file(sound(rate=rate), rate)).rate == rate


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
def test_resampling_keeps_the_sound(rate: int) -> None:
    lower = resampled(DecodedAudio(samples=sound(1.0, rate), rate=rate), 16000)
    assert len(lower.samples) == 16000
    assert np.abs(lower.samples - sound(1.0))[200:-200].max() < 2e-3


@pytest.mark.parametrize("kind", [np.int16, np.int32, np.uint8, np.float64])
def test_an_array_comes_with_its_rate(kind: type[np.generic]) -> None:
    scale = {np.int16: 2**15, np.int32: 2**31, np.uint8: 2**7}.get(kind, 1)
    middle = 128 if kind is np.uint8 else 0
    array = (np.array([[0.5, -0.5], [0.25, 0.75], [0, 0]]) * scale + middle).astype(kind)
    decoded = clip((array, 8000))
    assert decoded.rate == 8000
    assert decoded.samples.tolist() == [0, 0.5, 0]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (np.zeros(5), "without its rate"),
        ((np.zeros((2, 9)), 8000), "channels come last"),
        ((np.zeros(9), 0), "0 samples a second"),
        ((np.zeros(9, complex), 8000), "of complex128"),
        ((np.zeros((1, 2, 3)), 8000), r"shape \(1, 2, 3\)"),
        ((np.zeros(0), 8000), "no samples"),
        ((np.full(9, np.inf), 8000), "no numbers"),
        (sound_file(np.zeros(0, np.float32)), "no samples"),
        (sound_file(np.full(9, np.nan), subtype="FLOAT"), "no numbers"),
        (b"neither sound nor music", "no suitable format reader found"),
        (sound_file(sound(), form="HTK"), "format HTK"),
    ],
)
def test_what_cannot_be_heard_is_refused(source: object, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        clip(source)


def wav_head(seconds: int, rate: int = 16000) -> bytes:
    """A WAV file written to a pipe, which knows no length, or one that promises a length."""
    size = seconds * rate
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate, 1, 8)
    data = struct.pack("<4sI", b"data", size) + bytes(size)
    return struct.pack("<4sI4s", b"RIFF", 0xFFFFFFFF, b"WAVE") + form + data


def test_eight_hours_are_refused_by_the_head(monkeypatch: pytest.MonkeyPatch) -> None:
    file = wav_head(8 * 3600, rate=1000)
    monkeypatch.setattr("soundfile.SoundFile.read", lambda *_, **__: pytest.fail("it was decoded"))
    with pytest.raises(RequestError, match=r"lasts 28800 s .* at most 3600 s"):
        clip(file)


def test_a_file_from_a_pipe_is_read_to_its_end() -> None:
    assert len(clip(wav_head(1)).samples) == 16000


def test_a_decoder_that_seeks_before_the_beginning_stays_where_it_is() -> None:
    file = _Bytes(b"some bytes")
    assert [file.seek(4), file.seek(-1), file.seek(0, 2)] == [4, 4, 10]


@pytest.mark.parametrize(("form", "subtype"), [*LOSSLESS[:5], ("FLAC", None), ("AIFF", None)])
def test_a_clip_that_is_cut_short_is_refused(form: str, subtype: str | None) -> None:
    file = sound_file(sound(), form=form, subtype=subtype)
    with pytest.raises(RequestError, match=r"cut short|no suitable format"):
        clip(file[: len(file) // 2])
