"""Pictures of every form come out upright, opaque and in RGB."""

import numpy as np
import pytest
from PIL import Image

from mistralrs_mlx.errors import RequestError
from mistralrs_mlx.media.images import open_image, shrunk
from mistralrs_mlx.media.limits import Limits
from mistralrs_mlx.media.types import DecodedImage
from tests.media.files import encoded, ramp, tall_png

PLAIN = np.asarray(ramp())


def pixels(source: object) -> np.ndarray:
    image = open_image(source, Limits()).pixels
    assert image.dtype == np.uint8
    assert image.shape[2] == 3
    return image


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("PNG", {}), ("BMP", {}), ("TIFF", {}), ("PPM", {}), ("WEBP", {"lossless": True}),
        ("JPEG", {"quality": 95}), ("GIF", {}),
    ],
)  # fmt: skip
def test_formats_are_told_by_their_content(form: str, options: dict[str, object]) -> None:
    apart = np.abs(pixels(encoded(ramp(), form, **options)).astype(int) - PLAIN)
    assert apart.mean() < {"JPEG": 4, "GIF": 16}.get(form, 1e-9)


def test_a_pillow_image_is_taken() -> None:
    assert np.array_equal(pixels(ramp()), PLAIN)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_picture_stands_as_its_exif_data_says(orientation: int) -> None:
    turned = {
        1: PLAIN, 2: PLAIN[:, ::-1], 3: PLAIN[::-1, ::-1], 4: PLAIN[::-1],
        5: PLAIN.swapaxes(0, 1), 6: np.rot90(PLAIN, -1), 7: PLAIN[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(PLAIN),
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(pixels(encoded(ramp(), "PNG", exif=exif)), turned[orientation])


def test_broken_exif_data_turns_nothing() -> None:
    file = encoded(ramp(), "PNG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff nonsense")
    assert np.array_equal(pixels(file), PLAIN)


def test_transparency_shows_white() -> None:
    image = ramp().convert("RGBA")
    image.putalpha(Image.fromarray(np.full((30, 40), 51, np.uint8)))
    expected = PLAIN * 0.2 + 255 * 0.8
    assert np.abs(pixels(encoded(image, "PNG")) - expected).max() <= 1


def test_a_transparent_palette_entry_shows_white() -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([10, 20, 30, 40, 50, 60])
    assert pixels(encoded(image, "PNG", transparency=0)).tolist() == [[[255] * 3, [40, 50, 60]]]


def test_a_transparent_colour_shows_white() -> None:
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((1, 0), (9, 9, 9))
    file = encoded(image, "PNG", transparency=(9, 9, 9))
    assert pixels(file).tolist() == [[[1, 2, 3], [255] * 3]]


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_keep_their_brightness(form: str) -> None:
    deep = np.array([[0, 257, 32768, 65535]], np.uint16)
    image = pixels(encoded(Image.fromarray(deep), form))
    assert image[..., 0].tolist() == [[0, 1, 128, 255]]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "YCbCr", "HSV", "I", "F"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    image = pixels(Image.new("RGB", (3, 2), "white").convert(mode))
    assert image.min() >= 254


def test_the_first_frame_of_an_animation_is_seen() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    file = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixels(file)[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize(
    "array",
    [
        PLAIN, PLAIN.transpose(2, 0, 1), PLAIN / 255.0, PLAIN.astype(np.float32),
        PLAIN.astype(np.int64), PLAIN.astype(np.uint16) * 257,
        np.concatenate([PLAIN, np.full((30, 40, 1), 255, np.uint8)], axis=2),
    ],
)  # fmt: skip
def test_arrays_are_read_by_shape_and_type(array: np.ndarray) -> None:
    assert np.array_equal(pixels(array), PLAIN)


@pytest.mark.parametrize("array", [np.eye(5, dtype=bool), np.eye(5)[..., None], np.eye(5)[None]])
def test_arrays_of_one_channel_are_grey(array: np.ndarray) -> None:
    assert np.array_equal(pixels(array)[..., 1], np.eye(5) * 255)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros(3), r"shape \(3,\)"),
        (np.zeros((2, 5, 7)), r"shape \(2, 5, 7\)"),
        (np.zeros((0, 5, 3), np.uint8), "holds no pixel"),
        (np.full((2, 2), np.nan), "no numbers"),
        (np.zeros((2, 2), complex), "of complex128"),
        (np.array([["a"]]), "of <U1"),
    ],
)
def test_an_array_that_is_no_picture_is_refused(array: np.ndarray, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        pixels(array)


@pytest.mark.parametrize("size", [(20_000, 20_000), (10_000, 10_000), (1 << 30, 1 << 30)])
def test_a_huge_picture_is_refused_by_its_head(size: tuple[int, int]) -> None:
    with pytest.raises(RequestError, match="pixels"):
        pixels(tall_png(*size))


def test_the_limit_also_holds_for_what_is_already_decoded() -> None:
    for source in (PLAIN, ramp()):
        with pytest.raises(RequestError, match="40 x 30 pixels; at most 1000"):
            open_image(source, Limits(pixels=1000))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "TIFF", "BMP"])
def test_a_picture_that_is_cut_short_is_refused(form: str) -> None:
    file = encoded(ramp(200, 200), form)
    with pytest.raises(RequestError, match=r"cut short|could not be determined"):
        pixels(file[: len(file) // 2])


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(RequestError, match="The image format could not be determined"):
        pixels(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")


def test_a_long_edge_is_capped_in_proportion() -> None:
    image = DecodedImage(pixels=PLAIN)
    assert shrunk(image, 20).pixels.shape == (15, 20, 3)
    assert shrunk(image, 40) is image
    assert shrunk(DecodedImage(pixels=np.zeros((900, 1, 3), np.uint8)), 9).pixels.shape[1] == 1
