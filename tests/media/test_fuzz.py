"""Whatever bytes come in: a picture or a clip comes out, or a `RequestError`."""

import contextlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mistralrs_mlx.errors import RequestError
from mistralrs_mlx.media.audio import open_audio
from mistralrs_mlx.media.images import open_image
from mistralrs_mlx.media.limits import Limits
from tests.media.files import encoded, ramp, sound, sound_file

LIMITS = Limits(pixels=1_000_000, audio_samples=1_000_000)
IMAGES = {
    form: encoded(ramp(), form)
    for form in ("BMP", "GIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
}
SOUNDS = {
    form: sound_file(sound(0.1), form=form) for form in ("AIFF", "AU", "FLAC", "MP3", "OGG", "WAV")
}
FILES: list[tuple[Callable[..., object], bytes]] = [
    *((open_image, file) for file in IMAGES.values()),
    *((open_audio, file) for file in SOUNDS.values()),
]
NAMES = [*IMAGES, *SOUNDS]


def survives(opened: Callable[..., object], file: object) -> None:
    with contextlib.suppress(RequestError):
        opened(file, LIMITS)


@pytest.mark.parametrize(("opened", "file"), FILES, ids=NAMES)
def test_files_cut_anywhere_are_read_or_refused(opened: Callable[..., object], file: bytes) -> None:
    for tenth in range(10):
        survives(opened, file[: len(file) * tenth // 10])


@pytest.mark.parametrize(("opened", "file"), FILES, ids=NAMES)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(data=st.data())
def test_files_with_wrong_bytes_are_read_or_refused(
    opened: Callable[..., object], file: bytes, data: st.DataObject
) -> None:
    spoilt = bytearray(file)
    near = st.integers(0, min(len(file), 200) - 1)  # heads break in more ways than bodies
    for at in data.draw(st.lists(near | st.integers(0, len(file) - 1), min_size=1, max_size=8)):
        spoilt[at] = data.draw(st.integers(0, 255))
    survives(opened, bytes(spoilt))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(start=st.sampled_from(list(IMAGES.values()) + list(SOUNDS.values())), rest=st.binary())
def test_random_bytes_are_refused_or_read(start: bytes, rest: bytes) -> None:
    for opened in (open_image, open_audio):
        survives(opened, start[:12] + rest)
        survives(opened, rest)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(shape=st.lists(st.integers(0, 5), max_size=4), kind=st.sampled_from("?bBhHiIlLefdgFU"))
def test_arrays_of_any_kind_are_read_or_refused(shape: list[int], kind: str) -> None:
    array = np.zeros(shape, kind)
    survives(open_image, array)
    survives(open_audio, (array, 16000))
