"""Small files of many formats, made on the spot."""

import struct
import zlib
from io import BytesIO
from typing import Any

import numpy as np
import soundfile
from PIL import Image

__all__ = ["encoded", "ramp", "sound", "sound_file", "tall_png"]


def ramp(width: int = 40, height: int = 30) -> Image.Image:
    """A picture whose corners differ."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    channels = np.stack([across, down, 255 - across], axis=-1)
    return Image.fromarray(channels.astype(np.uint8))


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def tall_png(width: int, height: int) -> bytes:
    """A PNG file whose head promises this size and whose data is short."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 100)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def sound(seconds: float = 0.5, rate: int = 16000) -> np.ndarray:
    """A rising tone, at half of full scale."""
    times = np.arange(int(seconds * rate)) / rate
    return np.asarray(0.5 * np.sin(2 * np.pi * (300 + 400 * times) * times), np.float32)


def sound_file(
    samples: np.ndarray, rate: int = 16000, form: str = "WAV", subtype: str | None = None
) -> bytes:
    file = BytesIO()
    soundfile.write(file, samples, rate, format=form, subtype=subtype)
    return file.getvalue()
