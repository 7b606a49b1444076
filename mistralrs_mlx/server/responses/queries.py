"""What may stand behind the ? of a route, and pages of items."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta
from starlette.requests import Request

from mistralrs_mlx.server.asking import refused
from mistralrs_mlx.server.bodies import Body
from mistralrs_mlx.server.body import parameter_of
from mistralrs_mlx.server.failure import Failure

from .answers import Items
from .bodies import check_included
from .items import Item

__all__ = ["ItemsQuery", "Query", "ResponseQuery", "page", "query_of"]


class Query(Body, frozen=True, kw_only=True):
    """What all may say."""

    include: list[str] | None = None


class ResponseQuery(Query, frozen=True, kw_only=True):
    """GET /v1/responses/{id}. With `stream`, the events after `starting_after` are told again."""

    stream: bool | None = None
    starting_after: Annotated[int, Meta(ge=-1, le=2**53)] | None = None
    include_obfuscation: bool | None = None


class ItemsQuery(Query, frozen=True, kw_only=True):
    """GET /v1/responses/{id}/input_items."""

    after: str | None = None
    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    order: Literal["asc", "desc"] = "desc"


Kind = TypeVar("Kind", bound=Query)


def query_of(request: Request, kind: type[Kind]) -> Kind:
    """The query as this type reads it. Raises `Failure` with 400."""
    given: dict[str, Any] = {}
    for name in request.query_params:
        values = request.query_params.getlist(name)
        plain = name.removesuffix("[]")  # as OpenAI's clients write lists
        given[plain] = values if plain == "include" else values[-1]
    try:
        query = msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as error:
        raise Failure(400, str(error), parameter=parameter_of(str(error))) from None
    check_included(query.include)
    if isinstance(query, ResponseQuery):
        _check_streaming(query)
    return query


def page(items: Sequence[Item], query: ItemsQuery) -> Items:
    """The items that the query is for. Raises `Failure` with 400."""
    ordered = list(items) if query.order == "asc" else list(reversed(items))
    if query.after is not None:
        ids = [item.id for item in ordered]
        if query.after not in ids:
            message = f"there is no item `{query.after}`"
            raise Failure(400, message, parameter="after", code="item_not_found")
        ordered = ordered[ids.index(query.after) + 1 :]
    found = ordered[: query.limit]
    return Items(
        data=found,
        first_id=found[0].id if found else None,
        last_id=found[-1].id if found else None,
        has_more=len(ordered) > len(found),
    )


def _check_streaming(query: ResponseQuery) -> None:
    if query.include_obfuscation:
        raise refused("include_obfuscation", "events are as long as what they say")
    if query.starting_after is not None and not query.stream:
        raise refused("starting_after", "it goes only with stream=true")
