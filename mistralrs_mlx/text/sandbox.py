"""The Jinja in which chat templates run: what Hugging Face gives them, and no more than that.

Templates come with downloaded checkpoints, so they are confined: no access to Python's insides, no
change to the messages, and no endless work. What they make is weighed by `spending`.
"""

import json
from collections.abc import Callable, Iterable
from functools import wraps
from types import BuiltinMethodType, FunctionType, MethodType
from typing import Any

from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.filters import make_attrgetter
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace, pass_environment
from jinja2.visitor import NodeTransformer

from mistralrs_mlx.errors import TemplateError

from .spending import current, size_of_call, size_of_format

__all__ = ["Sandbox"]

_LONGEST = 1_000_000  # of a repeated text or list
_LARGEST_POWER = 64
_MOST_BITS = 4096  # of a whole number that is reckoned with
_WIDEST_INDENT = 256
# Filters that take minutes for a long text, and a function that writes one; no chat needs them.
_LEFT_OUT = ("pprint", "striptags", "urlize", "wordwrap")
_UNSAFE = ("maketrans", "to_bytes", "translate")  # methods that make much of little


class Sandbox(ImmutableSandboxedEnvironment):
    """A Jinja environment for chat templates; it compiles and renders within `spending()`.

    Every turn of a loop and every call of a macro spends one step, and every value its bytes.
    """

    intercepted_binops = frozenset({"+", "*", "**", "/", "//", "%"})

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            extensions=["jinja2.ext.loopcontrols", GenerationBlocks],
            finalize=lambda value: current().written(value),
        )
        self.filters |= {"tojson": tojson, "join": join}
        self.filters = {
            name: _weighed(name, function)
            for name, function in self.filters.items()
            if name not in _LEFT_OUT
        }
        del self.globals["lipsum"]
        self.globals |= {"raise_exception": raise_exception, "namespace": Names}

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Whether a template may have this."""
        return attr not in _UNSAFE and super().is_safe_attribute(obj, attr, value)

    def call(self, context: Context, function: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call what a template calls, unless it would make too much."""
        text, name = _bound(function)
        if text is self:
            return function(*args)
        if isinstance(text, str):
            if name == "join" and args:
                args = (self.made(list(args[0])), *args[1:])
            if name in ("format", "format_map"):
                values = [*args, *kwargs.values()] if name == "format" else args[0]
                current().expect(size_of_format(text, values, percent=False))
            current().expect(size_of_call(name, text, [*args, *kwargs.values()]))
        return current().made(super().call(context, function, *args, **kwargs))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Refuse products, powers and formats that would fill the memory."""
        if any(isinstance(each, int) and each.bit_length() > _MOST_BITS for each in (left, right)):
            raise TemplateError("The chat template reckons with numbers of a thousand digits")
        if operator == "**" and isinstance(right, int | float) and abs(right) > _LARGEST_POWER:
            raise TemplateError(f"The chat template raises a number to the power {right}")
        if operator == "*" and _repeated(left, right) > _LONGEST:
            raise TemplateError("The chat template repeats a text more than a million times")
        spent, weight = current(), None
        if operator == "%" and isinstance(left, str):
            spent.expect(size_of_format(left, right, percent=True))
        if operator == "+" and isinstance(left, list | tuple):
            weight = spent.weight(left) + spent.weight(right)
        return spent.made(super().call_binop(context, operator, left, right), weight)

    def concat(self, pieces: Iterable[str]) -> str:
        """Join what was written: by a block, a macro or the whole template."""
        size, kept = 0, []
        for piece in pieces:
            size += len(piece)
            current().expect(size)
            kept.append(piece)
        return current().made("".join(kept))

    def joined(self, *parts: object) -> str:
        """What `~` makes."""
        return self.concat(map(str, parts))

    def made(self, value: Any) -> Any:
        """Account for a list, tuple, dict or slice."""
        return current().made(value)

    def tick(self) -> None:
        """Account for a turn or a call."""
        current().step()

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        _Accounting().generic_visit(tree)
        tree.set_environment(self)
        return tree


class _Accounting(NodeTransformer):
    """Has what could grow accounted for. No template can name an `EnvironmentAttribute`."""

    def visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        """Return what is compiled in the node's place, once all in it is done."""
        self.generic_visit(node, *args, **kwargs)
        match node:
            case nodes.For() | nodes.Macro():
                node.body.insert(0, nodes.ExprStmt(_call("tick", at=node), lineno=node.lineno))
            case nodes.Concat():
                return _call("joined", *node.nodes, at=node)
            case nodes.List() | nodes.Dict() | nodes.Getitem(arg=nodes.Slice()):
                return _call("made", node, at=node)
            case nodes.Tuple(ctx="load"):
                return _call("made", node, at=node)
        return node


def _call(name: str, *arguments: nodes.Expr, at: nodes.Node) -> nodes.Call:
    function = nodes.EnvironmentAttribute(name, lineno=at.lineno)
    return nodes.Call(function, list(arguments), [], None, None, lineno=at.lineno)


class Names(Namespace):
    """A namespace that writes nothing of what it holds: that could be others, without end."""

    def __repr__(self) -> str:
        return "<Namespace>"


class GenerationBlocks(Extension):
    """`{% generation %}` marks what an assistant said, for training; here only its body counts."""

    tags = {"generation"}  # noqa: RUF012 (Jinja declares it so)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """Return the nodes between the two tags."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def tojson(
    value: object,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Return JSON as text: nothing is escaped for HTML and keys keep their order."""
    if indent is not None and not 0 <= indent <= _WIDEST_INDENT:
        raise TemplateError(f"tojson(indent={indent}) in the chat template; at most 256 is allowed")
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def raise_exception(message: str) -> None:
    """Let a template refuse what it was given."""
    raise TemplateError(f"The chat template refused these messages: {message}")


@pass_environment
def join(
    environment: Sandbox, value: Iterable[Any], d: str = "", attribute: str | int | None = None
) -> str:
    """Return the parts with a text between them."""
    chosen = value if attribute is None else map(make_attrgetter(environment, attribute), value)
    parts, size, between = [], 0, str(d)
    for part in map(str, chosen):
        size += len(part) + len(between)
        current().expect(size)
        parts.append(part)
    return between.join(parts)


def _weighed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The same filter, which accounts for what it makes."""
    first = int(isinstance(function, FunctionType) and "jinja_pass_arg" in vars(function))

    @wraps(function)
    def weighed(*args: Any, **kwargs: Any) -> Any:
        text, more = args[first], [*args[first + 1 :], *kwargs.values()]
        if name == "format" and isinstance(text, str):
            values = kwargs or args[first + 1 :]
            current().expect(size_of_format(text, values, percent=True))
        if name == "sum" and any(isinstance(each, list | tuple) for each in more):
            raise TemplateError("The chat template sums lists; only numbers can be")
        current().expect(size_of_call(name, text, more))
        return current().made(function(*args, **kwargs))

    return weighed


def _bound(function: object) -> tuple[object, str]:
    """Whose method a function is, if it is one, and its name."""
    if isinstance(function, FunctionType):  # as which Jinja wraps str.format
        function = vars(function).get("__wrapped__", function)
    if isinstance(function, MethodType | BuiltinMethodType):
        return function.__self__, function.__name__
    return None, ""


def _repeated(left: Any, right: Any) -> int:
    """Return the length of a text or list times a number, and 0 for products of numbers."""
    for what, count in ((left, right), (right, left)):
        if isinstance(what, str | list | tuple) and isinstance(count, int):
            return len(what) * count
    return 0
