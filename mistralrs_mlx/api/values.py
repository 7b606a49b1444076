"""The two kinds of objects in this package's surface: values that users make, records we return.

A `Value` is an immutable dataclass whose constructor checks every argument against its annotation
(`checks.rule`). A `record` is an immutable dataclass with slots that prints as mistral.rs does.
"""

from dataclasses import MISSING, Field, dataclass, field, fields
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    Self,
    TypeVar,
    dataclass_transform,
    get_type_hints,
)

from .checks import Rule, rule
from .described import with_arguments
from .printed import debug_repr, single

__all__ = ["Accepts", "Value", "Variants", "default", "narrow_floats", "record"]

Given = TypeVar("Given", contravariant=True)
Kept = TypeVar("Kept", covariant=True)
Kind = TypeVar("Kind")

if TYPE_CHECKING:

    class Accepts(Generic[Given, Kept]):
        """`field: Accepts[str | None, Mode]`: the constructor takes one, the field is the other.

        Type checkers see a descriptor; at run time it is a pair that `Value` takes apart.
        """

        given: Any
        kept: Any

        def __get__(self, owner: object, kind: type | None = None) -> Kept: ...

        def __set__(self, owner: object, value: Given) -> None: ...

    def default(value: Any) -> Any:
        """The default of an `Accepts` field."""

else:

    @dataclass(frozen=True)
    class Accepts:
        given: object
        kept: object

        def __class_getitem__(cls, both):
            return cls(*both)

    def default(value):
        return value


@dataclass_transform(frozen_default=True, eq_default=False, field_specifiers=(field,))
class Value:
    """The base of what users construct. Subclasses become dataclasses; no decorator is needed."""

    _rules: ClassVar[dict[str, Rule]]
    _unmatched: ClassVar[tuple[str, ...]] = ()  # fields that `case` patterns leave out

    def __init_subclass__(cls, *, frozen: bool = True, eq: bool = False) -> None:
        super().__init_subclass__()
        dataclass(frozen=frozen, eq=eq, repr=False)(cls)
        _part(cls)
        cls._rules = {one.name: rule(one.type) for one in _settings(cls)}
        matched = tuple(name for name in cls._rules if name not in cls._unmatched)
        _give(cls, {"__match_args__": matched, "__doc__": with_arguments(cls, cls._rules)})
        if frozen:
            _seal(cls)

    def __post_init__(self) -> None:
        for name, check in self._rules.items():
            self._put(name, check.accept(name, getattr(self, name)))

    def __repr__(self) -> str:
        said = (f"{name}={value!r}" for name, value in self._said())
        return f"{type(self).__qualname__}({', '.join(said)})"

    def _put(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _said(self) -> list[tuple[str, object]]:
        """The fields that differ from their defaults."""
        pairs = [(one, getattr(self, one.name)) for one in _settings(type(self))]
        return [(one.name, value) for one, value in pairs if value != _default(one)]


class Variants:
    """The base of a class that is made only through its variants, as `Which.Plain(...)`.

    `class WhichPlain(Which, Value)` becomes `Which.Plain`, whose name is `Which_Plain`.
    """

    def __init_subclass__(cls, **options: bool) -> None:
        super().__init_subclass__(**options)
        parent = cls.__bases__[0]
        if parent is Variants:
            return
        name = cls.__name__.removeprefix(parent.__name__)
        cls.__name__, cls.__qualname__ = f"{parent.__name__}_{name}", f"{parent.__name__}.{name}"
        cls.__init__.__qualname__ = f"{cls.__qualname__}.__init__"
        setattr(parent, name, cls)

    def __new__(cls, *_: object, **__: object) -> Self:
        if cls.__bases__[0] is Variants:
            raise TypeError(f"No constructor defined for {cls.__name__}; use one of its variants")
        return super().__new__(cls)


@dataclass_transform(
    kw_only_default=True, frozen_default=True, eq_default=False, field_specifiers=(field,)
)
def record(cls: type[Kind]) -> type[Kind]:
    """Make a class an immutable dataclass with slots, identity and mistral.rs's printed form."""
    own_repr = vars(cls).get("__repr__", debug_repr)
    built = dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)(cls)
    _give(built, {"__repr__": own_repr})
    _seal(built)
    return built


def narrow_floats(value: Any) -> None:
    """Round a record's floats to 32 bits, in which mistral.rs holds them."""
    for one in fields(value):
        if one.type is float:
            object.__setattr__(value, one.name, single(getattr(value, one.name)))


def _part(cls: Any) -> None:
    """Give the constructor's signature what is taken, and the fields what is kept."""
    taken = {}
    for one in _settings(cls):
        taken[one.name] = one.type
        if isinstance(one.type, Accepts):
            taken[one.name], one.type = one.type.given, one.type.kept
            cls.__annotations__[one.name] = one.type
    cls.__init__.__annotations__ = taken
    cls.__init__.__annotations__ = get_type_hints(cls.__init__)  # without the rules in Annotated


def _settings(cls: Any) -> list[Field[Any]]:
    return [one for one in fields(cls) if one.init]


def _default(one: Field[Any]) -> object:
    return one.default if one.default_factory is MISSING else one.default_factory()


def _seal(cls: type) -> None:
    """Refuse changes with one message; a frozen dataclass with slots refuses some with another."""
    _give(cls, {"__setattr__": _refuse, "__delattr__": _refuse})


def _refuse(self: object, name: str, _: object = None) -> None:
    raise AttributeError(f"attribute {name!r} of {type(self).__name__!r} objects is not writable")


def _give(cls: type, members: dict[str, object]) -> None:
    for name, member in members.items():
        setattr(cls, name, member)
