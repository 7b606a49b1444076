"""Pictures: from a file's bytes, a Pillow image or an array to upright RGB."""

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image

from mistralrs_mlx.errors import RequestError

from .limits import Limits
from .sources import read_source
from .types import DecodedImage

__all__ = ["open_image", "shrunk"]

# Formats with a signature and a decoder of Pillow's own. Some others would start programs.
FORMATS = (
    "AVIF", "BMP", "DIB", "GIF", "ICO", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "QOI", "TIFF",
    "WEBP",
)  # fmt: skip
ORIENTATION = 0x0112  # of EXIF: what must be done to stand the picture upright
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What Pillow's decoders raise on broken files; warnings, where these are turned into errors.
BROKEN = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError,
    RuntimeError, SyntaxError, TypeError, ValueError, Warning, struct.error, zlib.error,
)  # fmt: skip
CHANNELS = (1, 3, 4)


def open_image(source: object, limits: Limits) -> DecodedImage:
    """Read a picture from any source, the first frame of an animated one.

    Raises `RequestError` for what is no picture, is broken, or has too many pixels.
    """
    if isinstance(source, Image.Image):
        return _decoded(source, limits)
    if isinstance(source, np.ndarray):
        return _decoded(_from_array(source), limits)
    data = read_source(source, limits)
    try:
        Image.init()
        image = Image.open(BytesIO(data), formats=[name for name in FORMATS if name in Image.OPEN])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise RequestError(f"{error}. Make the picture smaller") from error
    except BROKEN as error:
        raise RequestError(
            f"The image format could not be determined, from {len(data)} bytes that begin with "
            f"{data[:8]!r}. Give a PNG, JPEG, WebP, GIF, TIFF, BMP or AVIF file"
        ) from error
    with image:
        return _decoded(image, limits)


def shrunk(image: DecodedImage, max_edge: int) -> DecodedImage:
    """Scale a picture down, in proportion, until no edge is longer than `max_edge`."""
    height, width, _ = image.pixels.shape
    longest = max(height, width)
    if longest <= max_edge:
        return image
    size = [max(1, round(edge * max_edge / longest)) for edge in (width, height)]
    small = Image.fromarray(image.pixels).resize((size[0], size[1]), Image.Resampling.BILINEAR)
    return DecodedImage(pixels=np.asarray(small))


def _decoded(image: Image.Image, limits: Limits) -> DecodedImage:
    width, height = image.size
    if width * height > limits.pixels:
        raise RequestError(
            f"it has {width} x {height} pixels; at most {limits.pixels} in all are decoded. Make "
            "the picture smaller"
        )
    if not width or not height:
        raise RequestError(f"it has {width} x {height} pixels; there should be at least one")
    try:
        image.load()
        upright = _upright(image)
        pixels = np.asarray(_rgb(upright))
    except BROKEN as error:
        raise RequestError(
            f"its {image.format or 'image'} data is broken or cut short: {error}. Save it again"
        ) from error
    return DecodedImage(pixels=pixels)


def _upright(image: Image.Image) -> Image.Image:
    """Turn the picture as its EXIF data says; broken EXIF data turns nothing."""
    try:
        turn = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    except BROKEN:
        return image
    return image if turn is None else image.transpose(turn)


def _rgb(image: Image.Image) -> Image.Image:
    """Convert to RGB: transparency over white, deep grey values to the nearest of 256."""
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_eight_bits(np.asarray(image))).convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    over = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """Bring samples to 0..255, from the range that their type and the largest of them suggest."""
    if values.dtype == np.uint8:
        return values
    if not np.isfinite(values).all():
        raise RequestError("it has values that are no numbers; give 0 to 255, or 0.0 to 1.0")
    most = float(values.max())
    if values.dtype == np.uint16 or most > 255:
        scale = 65535.0
    elif values.dtype.kind in "bf" and most <= 1:
        scale = 1.0
    else:
        scale = 255.0
    return np.rint(np.clip(values / scale, 0, 1) * 255).astype(np.uint8)


def _from_array(array: np.ndarray) -> Image.Image:
    """Read (H, W), (H, W, C) or (C, H, W), where C is 1, 3 or 4."""
    last = array.ndim == 3 and array.shape[2] in CHANNELS
    if array.ndim == 3 and not last and array.shape[0] in CHANNELS:
        array = array.transpose(1, 2, 0)
    elif array.ndim != 2 and not last:
        raise RequestError(
            f"its array has the shape {array.shape}; it should be (height, width, 3), or with 1 "
            "or 4 channels"
        )
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise RequestError(f"its array is of {array.dtype}; give uint8, or floats from 0.0 to 1.0")
    if not array.size:
        raise RequestError(f"its array has the shape {array.shape}, which holds no pixel")
    array = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    return Image.fromarray(np.ascontiguousarray(_eight_bits(array)))
