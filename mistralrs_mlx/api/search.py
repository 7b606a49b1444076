"""Web search: how much to read, where the user is, and what the tools are called to do."""

from dataclasses import field
from typing import TYPE_CHECKING, Any, TypeAlias

from .enums import SearchContextSize
from .values import Accepts, Value, Variants, default

__all__ = ["ApproximateUserLocation", "WebSearchOptions", "WebSearchUserLocation"]


class ApproximateUserLocation(Value, eq=True):
    """Where the user is, roughly. Equal when all four parts are."""

    city: str
    country: str
    region: str
    timezone: str


class WebSearchUserLocation(Variants):
    """Where the user is. There is one variant, `Approximate`."""

    if TYPE_CHECKING:
        Approximate: TypeAlias = "WebSearchUserLocationApproximate"

    @staticmethod
    def approximate(approximate: ApproximateUserLocation) -> "WebSearchUserLocation":
        """The location that an `ApproximateUserLocation` describes."""
        return WebSearchUserLocationApproximate(approximate)


class WebSearchUserLocationApproximate(WebSearchUserLocation, Value, eq=True):
    """A rough location; on an instance, `approximate` is what it was made of."""

    # `field()`: without it, the factory of the same name would be the default.
    approximate: ApproximateUserLocation = field()  # type: ignore[assignment]


class WebSearchOptions(Value, eq=True):
    """Let the model search the web. The last five fields are mistral.rs's, and always None.

    Args:
        search_context_size: How much of what is found the model reads: 4096, 8192 (the default) or
            16384 tokens.
        user_location: `WebSearchUserLocation.approximate(ApproximateUserLocation(...))`: told to
            the model.
        search_description: What the model is told about the search, instead of our words.
        extract_description: The same for reading a page.
    """

    search_context_size: Accepts[SearchContextSize | str | None, SearchContextSize | None] = (
        default(None)
    )
    user_location: WebSearchUserLocation | None = None
    search_description: str | None = None
    extract_description: str | None = None
    external_web_access: Any = field(default=None, init=False)
    filters: Any = field(default=None, init=False)
    image_settings: Any = field(default=None, init=False)
    return_token_budget: Any = field(default=None, init=False)
    search_content_types: Any = field(default=None, init=False)
