"""How much of a user's media is taken in. Whatever is larger is refused before it is decoded."""

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds on one picture or clip."""

    bytes: int = 256 << 20  # of a file, a download or a data URL
    pixels: int = 89_478_485  # where Pillow begins to warn of decompression bombs
    audio_seconds: float = 3600.0
    audio_samples: int = 200_000_000  # of one channel: an hour at 48 kHz, and some
    download_seconds: float = 60.0
    redirects: int = 5
