"""Makes a function of an expression: Jinja2 parses it, an allow-list of its nodes is translated, everything else is refused."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from runner.errors import TemplateError
from runner.expressions import grammar
from runner.expressions.comparison import COMPARISONS
from runner.expressions.filters import FILTER_NAMES, FILTERS
from runner.expressions.objects import (
    UndefinedError,
    check_length,
    truth,
)
from runner.expressions.scope import Lookup, Path, member
from runner.expressions.work import EXPRESSION, PATH, SOURCE_CHAR, WORD
from runner.model.fault import nearest

if TYPE_CHECKING:  # pragma: no cover - Jinja2 is imported where a template is more than a path, which most are not
    from jinja2 import nodes

MAX_NESTING = 50
"""How deep the operations of one expression may be nested."""

COMPARED_CHAR = 4


class Run:
    """One rendering: where names are looked up, and what pays for the work."""

    __slots__ = ("charge", "scope")

    def __init__(self, scope: Lookup) -> None:
        self.scope = scope
        self.charge = scope.work.charge


Step = Callable[[Run], object]


class Expression(NamedTuple):
    """`names` are the paths that it reads, each once; `evaluate` gives its value or raises TemplateError. `price` is what
    parsing it costs, in the coin of `Work`."""

    names: tuple[Path, ...]
    evaluate: Step
    price: int = PATH


def compile_expression(source: str, base: int = 0) -> Expression:
    """`source` is what stands between the braces, `base` where it begins in its text; raises TemplateError."""
    words = grammar.tokens(source, base)
    price = EXPRESSION + WORD * len(words.offsets) + SOURCE_CHAR * len(source)
    try:
        compiler = _Compiler(words.offsets)
        evaluate = compiler.step(_parsed(words), 0)
    except RecursionError:
        raise _too_nested(base) from None
    return Expression(tuple(compiler.names), evaluate, price)


@cache
def _environment() -> Any:
    import jinja2

    return jinja2.Environment()


def _parsed(words: grammar.Tokens) -> nodes.Expr:
    from jinja2.exceptions import TemplateSyntaxError
    from jinja2.parser import Parser

    def at(line: int) -> int:
        return words.offsets[min(line, len(words.offsets)) - 1]

    try:
        parser = Parser(_environment(), words.source, state="variable")
        parsed = parser.parse_expression()
        if not parser.stream.eos:
            token = parser.stream.current
            shown = grammar.revealed_message(str(token.value))
            raise TemplateError(f"unexpected {shown!r} behind the expression", offset=at(token.lineno))
    except TemplateSyntaxError as error:
        message = grammar.revealed_message(error.message or "syntax error")
        raise TemplateError(f"the expression is malformed: {message}", offset=at(error.lineno)) from None
    return parsed


def _too_nested(offset: int) -> TemplateError:
    return TemplateError(f"an expression is nested more than {MAX_NESTING} deep", offset=offset)


class _Compiler:
    def __init__(self, offsets: list[int]) -> None:
        self._offsets = offsets
        self.names: dict[Path, None] = {}
        self._depth = 0
        self._translate: dict[str, Callable[[Any, int], Step]] = {
            "Name": self._path,
            "Getattr": self._path,
            "Getitem": self._path,
            "Const": self._constant,
            "Neg": self._constant,
            "List": self._list,
            "Tuple": self._list,
            "Compare": self._compare,
            "And": self._and,
            "Or": self._or,
            "Not": self._not,
            "CondExpr": self._choice,
            "Filter": self._filter,
        }

    def step(self, node: Any, depth: int) -> Step:
        if depth > MAX_NESTING:
            raise _too_nested(self._offset(node))
        name = type(node).__name__
        translate = self._translate.get(name)
        if translate is None:
            raise TemplateError(
                _REFUSED.get(name, f"{name.lower()} is not allowed in an expression"), offset=self._offset(node)
            )
        return translate(node, depth + 1)

    def _offset(self, node: Any) -> int:
        line: int = node.lineno
        return self._offsets[min(line, len(self._offsets)) - 1]

    def _path(self, node: Any, depth: int) -> Step:
        keys: list[str | int] = []
        here, root = node, _root(node)
        while here is not root:
            keys.append(self._key(here))
            here = here.node
        keys.reverse()
        if type(here).__name__ == "Const":
            raise TemplateError("a constant has no members", offset=self._offset(here))
        if type(here).__name__ != "Name":
            return _members(self.step(here, depth), tuple(keys))
        named = 0
        while named < len(keys) and isinstance(keys[named], str):
            named += 1
        path = (grammar.revealed(here.name), *(str(key) for key in keys[:named]))
        self.names[path] = None
        rest = tuple(keys[named:])
        found: Step = lambda run: run.scope.resolve(path)  # noqa: E731 - every step is such a function
        return _members(found, rest, ".".join(path)) if rest else found

    def _key(self, node: Any) -> str | int:
        if type(node).__name__ == "Getattr":
            if grammar.has_leading_dot(node.attr):
                raise TemplateError("a name is missing between two dots", offset=self._offset(node))
            return grammar.revealed(node.attr)
        try:
            key = _constant_of(node.arg)
        except TemplateError:
            key = None
        if isinstance(key, str):
            grammar.check_name(key, self._offset(node))
            return key
        if isinstance(key, int) and not isinstance(key, bool):
            return key
        raise TemplateError("a subscript is one quoted name or one whole number", offset=self._offset(node))

    def _constant(self, node: Any, depth: int) -> Step:
        try:
            value = _constant_of(node)
        except TemplateError as error:
            raise TemplateError(error.message, offset=self._offset(node)) from None
        return lambda run: value

    def _list(self, node: Any, depth: int) -> Step:
        for item in node.items:
            if type(_root(item)).__name__ not in ("Const", "Neg", "Name"):
                raise TemplateError("a list holds constants and paths only", offset=self._offset(item))
        items = [self.step(item, depth) for item in node.items]
        return lambda run: [item(run) for item in items]

    def _compare(self, node: Any, depth: int) -> Step:
        first = self.step(node.expr, depth)
        rest = [(COMPARISONS[operand.op], self.step(operand.expr, depth)) for operand in node.ops]

        def compare(run: Run) -> bool:
            left = first(run)
            for holds, step in rest:
                right = step(run)
                run.charge(left, COMPARED_CHAR)
                run.charge(right, COMPARED_CHAR)
                if not holds(left, right):
                    return False
                left = right
            return True

        return compare

    def _and(self, node: Any, depth: int) -> Step:
        left, right = self.step(node.left, depth), self.step(node.right, depth)

        def both(run: Run) -> object:
            value = left(run)
            return right(run) if truth(value) else value

        return both

    def _or(self, node: Any, depth: int) -> Step:
        left, right = self.step(node.left, depth), self.step(node.right, depth)

        def either(run: Run) -> object:
            value = left(run)
            return value if truth(value) else right(run)

        return either

    def _not(self, node: Any, depth: int) -> Step:
        step = self.step(node.node, depth)
        return lambda run: not truth(step(run))

    def _choice(self, node: Any, depth: int) -> Step:
        if node.expr2 is None:
            raise TemplateError("an inline `if` needs an `else`", offset=self._offset(node))
        test, then, other = (self.step(part, depth) for part in (node.test, node.expr1, node.expr2))
        return lambda run: then(run) if truth(test(run)) else other(run)

    def _filter(self, node: Any, depth: int) -> Step:
        name = grammar.revealed_message(node.name)
        offset = self._offset(node)
        if name not in FILTER_NAMES:
            hint = nearest(name, FILTER_NAMES) or "there are: " + ", ".join(FILTER_NAMES)
            raise TemplateError(f"there is no filter {name!r} ({hint})", offset=offset)
        if node.kwargs or node.dyn_args is not None or node.dyn_kwargs is not None:
            raise TemplateError(f"{name}: arguments have no names and no stars", offset=offset)
        value = self.step(node.node, depth)
        arguments = [self.step(argument, depth) for argument in node.args]
        if name == "default":
            _check_count(name, len(arguments), 0, 2, offset)
            return _default(value, arguments)
        filter = FILTERS[name]
        _check_count(name, len(arguments), filter.least, filter.most, offset)

        def apply(run: Run) -> object:
            values = [value(run), *(argument(run) for argument in arguments)]
            for item in values:
                run.charge(item, filter.weight)
            try:
                result = filter.call(*values)
            except TemplateError as error:
                raise type(error)(_prefixed(name, error.message), offset=error.offset) from None
            if isinstance(result, str):
                check_length(len(result))
            return result

        return apply


_REFUSED = {
    "Call": "calls are not allowed in an expression",
    "Test": "tests (`is`) are not allowed: compare, or give a `default`",
    "Concat": "`~` is not allowed: write two templates side by side",
    "Dict": "there are no mappings in expressions",
    "Slice": "there are no slices in expressions",
    **dict.fromkeys(
        ("Add", "Sub", "Mul", "Div", "FloorDiv", "Mod", "Pow", "Pos"), "arithmetic is not allowed in an expression"
    ),
}


def _root(node: Any) -> Any:
    """What a chain of members and subscripts begins with."""
    while type(node).__name__ in ("Getattr", "Getitem"):
        node = node.node
    return node


def _prefixed(name: str, message: str) -> str:
    return message if message.startswith(f"{name}: ") else f"{name}: {message}"


def _check_count(name: str, given: int, least: int, most: int, offset: int) -> None:
    if not least <= given <= most:
        wanted = str(least) if least == most else f"{least} to {most}"
        raise TemplateError(f"{name} takes {wanted} argument{'' if wanted == '1' else 's'}, not {given}", offset=offset)


def _constant_of(node: Any) -> object:
    if type(node).__name__ == "Const":
        value: object = node.value
        if isinstance(value, float) and value in (float("inf"), float("-inf")):
            raise TemplateError("the number is too large")
        return value
    if type(node).__name__ == "Neg" and type(node.node).__name__ == "Const":
        number = _constant_of(node.node)
        if isinstance(number, int | float) and not isinstance(number, bool):
            return -number
    raise TemplateError("`-` stands before a number only")


def _members(found: Step, keys: tuple[str | int, ...], where: str = "the value") -> Step:
    def walk(run: Run) -> object:
        here = found(run)
        for key in keys:
            here = member(here, key, where=where)
        return here

    return walk


def _default(value: Step, arguments: list[Step]) -> Step:
    fallback = arguments[0] if arguments else lambda run: ""
    also_when_false = arguments[1] if len(arguments) > 1 else lambda run: False

    def default(run: Run) -> object:
        try:
            found = value(run)
        except UndefinedError:
            return fallback(run)
        return fallback(run) if truth(also_when_false(run)) and not truth(found) else found

    return default
