"""What an operator decides: where to listen, whom to let in, and how much of what."""

from dataclasses import dataclass, field

__all__ = ["LOCAL", "Settings"]

LOCAL = ("127.0.0.1", "::1", "localhost")
MIB = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Only this machine is let in by default, and no page of another origin."""

    host: str = "127.0.0.1"
    port: int = 1234
    api_key: str | None = field(default=None, repr=False)  # clients show it; None lets all in
    cors_origins: tuple[str, ...] = ()  # origins of pages that may ask, or "*"
    media_urls: bool = False  # whether requests may have this machine fetch what they name
    max_requests: int = 64  # answers that run or wait; one more is refused with 429
    max_choices: int = 16  # answers that one request may ask for
    max_body: int = 64 * MIB  # bytes
    head_seconds: float = 10.0  # that the head of a request may take to arrive
    body_seconds: float = 30.0  # that a body may take to arrive
    answer_seconds: float = 3600.0  # that an answer may take
    max_stored: int = 1000  # responses that are kept; older ones make room
    max_stored_bytes: int = 256 * MIB  # that they take
    keep_alive_seconds: float = 10.0  # of silence, after which a stream says that it lives

    def __post_init__(self) -> None:
        for name in ("max_requests", "max_choices", "max_body", "max_stored", "max_stored_bytes"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1. Found {getattr(self, name)}.")
        for name in ("head_seconds", "body_seconds", "answer_seconds", "keep_alive_seconds"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be greater than 0. Found {getattr(self, name)}.")
        if self.api_key is not None and not self.api_key.strip():
            raise ValueError("api_key is empty, which would let everyone in. Give a key, or None.")
        if not 0 <= self.port < 1 << 16:
            raise ValueError(f"port must be from 0 to 65535. Found {self.port}.")

    @property
    def local(self) -> bool:
        """Whether only this machine can connect."""
        return self.host in LOCAL
