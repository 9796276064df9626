"""Tests of one field against constants: what may be written, and what it means.

They are evaluated here, before anything is asserted into an engine. A comparison with null
never holds, ``not`` and ``not-in`` included; ``equals: null``, ``in: [null]`` and ``null:``
are the ways to ask for null.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Literal

from mlx_diagnose.engine.model import Scalar
from mlx_diagnose.engine.rulebase.regex import compiled, refusal
from mlx_diagnose.engine.vocabulary import Field, FieldType

Predicate = Callable[[Scalar], bool]
Argument = Literal["constant", "constants", "text", "regex", "number", "range", "boolean"]


@dataclass(frozen=True, slots=True)
class Operator:
    """A test that may stand under ``where``: its argument and the field types it makes sense for."""

    name: str
    argument: Argument
    types: tuple[FieldType, ...]
    doc: str


_ANY: tuple[FieldType, ...] = ("str", "int", "float", "bool")
_NUMBERS: tuple[FieldType, ...] = ("int", "float")

OPERATORS: Mapping[str, Operator] = {
    item.name: item
    for item in (
        Operator("equals", "constant", _ANY, "the value is this one (null too)"),
        Operator("not", "constant", _ANY, "there is a value, and it is not this one"),
        Operator("in", "constants", _ANY, "the value is one of these"),
        Operator("not-in", "constants", _ANY, "there is a value, and it is none of these"),
        Operator("matches", "regex", ("str",), "the regular expression is found in the text"),
        Operator("contains", "text", ("str",), "the text contains this one"),
        Operator("starts-with", "text", ("str",), "the text starts with this one"),
        Operator("ends-with", "text", ("str",), "the text ends with this one"),
        Operator("lt", "number", _NUMBERS, "less than"),
        Operator("le", "number", _NUMBERS, "less than or equal to"),
        Operator("gt", "number", _NUMBERS, "greater than"),
        Operator("ge", "number", _NUMBERS, "greater than or equal to"),
        Operator("version", "range", ("str",), "the version is in the range, such as >=0.4,<0.5"),
        Operator("null", "boolean", _ANY, "true: there is no value; false: there is one"),
    )
}

_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
}
_CLAUSE = re.compile(r"\s*(===|==|~=|!=|<=|>=|<|>)\s*v?[0-9]+(\.([0-9]+|\*))*[-_.a-zA-Z0-9+!]*\s*")
_INT64 = 2**63


@dataclass(frozen=True, slots=True)
class FieldTest:
    """One test: ``argument`` is a scalar, or a tuple of scalars for ``in`` and ``not-in``."""

    field: str
    operator: str
    argument: Scalar | tuple[Scalar, ...]

    def __str__(self) -> str:
        name = "" if self.operator == "equals" else f"{self.operator} "
        if isinstance(self.argument, tuple):
            return f"{self.field}: {name}[{', '.join(map(written, self.argument))}]"
        return f"{self.field}: {name}{written(self.argument)}"


def written(value: Scalar) -> str:
    """A constant as it would stand in a rule file."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)


@cache
def predicate(test: FieldTest) -> Predicate:
    """The function that decides ``test`` for the value of its field."""
    name, argument = test.operator, test.argument
    if isinstance(argument, tuple):
        members = frozenset(argument)
        if name == "in":
            return lambda value: value in members
        return lambda value: value is not None and value not in members
    if name == "equals":
        return (lambda value: value is None) if argument is None else (lambda value: value == argument)
    if name == "not":
        return lambda value: value is not None and value != argument
    if name == "null":
        return lambda value: (value is None) is argument
    if name in _COMPARISONS and isinstance(argument, (int, float)):
        compare, bound = _COMPARISONS[name], argument
        return lambda value: isinstance(value, (int, float)) and compare(value, bound)
    if isinstance(argument, str):
        return _text_predicate(name, argument)
    raise ValueError(f"{name} cannot take {argument!r}")


def _text_predicate(name: str, argument: str) -> Predicate:
    if name == "matches":
        search = compiled(argument).search
        return lambda value: isinstance(value, str) and search(value) is not None
    if name == "contains":
        return lambda value: isinstance(value, str) and argument in value
    if name == "starts-with":
        return lambda value: isinstance(value, str) and value.startswith(argument)
    if name == "ends-with":
        return lambda value: isinstance(value, str) and value.endswith(argument)
    if name == "version":
        return lambda value: isinstance(value, str) and version_in(value, argument)
    raise ValueError(f"{name} cannot take a text")


@cache
def version_in(version: str, specifier: str) -> bool:
    """Whether ``version`` lies in the range; pre-releases count, what is no version does not."""
    from packaging.specifiers import SpecifierSet
    from packaging.version import InvalidVersion, Version

    try:
        return SpecifierSet(specifier).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def bad_range(specifier: str) -> str | None:
    """Why ``specifier`` is not a version range, or None if it is one."""
    for clause in specifier.split(","):
        if not _CLAUSE.fullmatch(clause):
            return f"{clause.strip()!r} is not a version clause such as >=0.4"
    if not re.search(r"[a-zA-Z*!+_-]|===|~=", specifier):
        return None  # plain comparisons of plain versions: no need to import packaging
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        SpecifierSet(specifier)
    except InvalidSpecifier as error:
        return str(error)
    return None


def bad_constant(value: Scalar, field: Field) -> str | None:
    """Why a field of this type can never have ``value``, or None if it can."""
    if value is None:
        return None if field.nullable else "the field is never null"
    fits = {
        "str": isinstance(value, str),
        "bool": isinstance(value, bool),
        "int": isinstance(value, int) and not isinstance(value, bool),
        "float": isinstance(value, (int, float)) and not isinstance(value, bool),
    }[field.type]
    if not fits:
        quote = " (put it in quotes)" if field.type == "str" else ""
        return f"the field is {NAMES[field.type]}, and {written(value)} is not{quote}"
    if field.type == "int" and isinstance(value, int) and not -_INT64 <= value < _INT64:
        return "the number is beyond 64 bits"
    return None


NAMES: Mapping[FieldType, str] = {
    "str": "a text",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
}


def bad_argument(test: FieldTest, field: Field) -> str | None:
    """Why ``test`` cannot be asked of ``field`` (a text to follow ``name.field: operator``), or None."""
    spec, argument = OPERATORS[test.operator], test.argument
    if field.type not in spec.types:
        return f"{test.operator} makes no sense here: the field is {NAMES[field.type]}"
    if spec.argument in ("constant", "constants"):
        values = argument if isinstance(argument, tuple) else (argument,)
        return next((reason for value in values if (reason := bad_constant(value, field))), None)
    if spec.argument == "boolean":
        if not isinstance(argument, bool):
            return "it takes true or false"
        if argument and not field.nullable:
            return "the field is never null"
        return None
    if spec.argument == "number":
        if isinstance(argument, bool) or not isinstance(argument, (int, float)):
            return f"it takes a number, not {written(argument) if not isinstance(argument, tuple) else 'a list'}"
        return None
    if not isinstance(argument, str) or not argument:
        return "it takes a text (in quotes)"
    if spec.argument == "regex":
        return refusal(argument)
    return bad_range(argument) if spec.argument == "range" else None


def contradiction(tests: tuple[FieldTest, ...]) -> str | None:
    """Why ``tests`` of one field can never hold together, or None if that is not plain."""
    tested = [(test, predicate(test)) for test in tests]
    for test, _ in tested:
        candidates: tuple[Scalar, ...] | None = None
        if test.operator == "in" and isinstance(test.argument, tuple):
            candidates = test.argument
        elif test.operator == "equals" and not isinstance(test.argument, tuple):
            candidates = (test.argument,)
        if candidates is not None and not any(all(holds(value) for _, holds in tested) for value in candidates):
            return f"no value that satisfies {str(test)!r} satisfies the other tests"
    if any(test.operator == "null" and test.argument is True for test in tests) and len(tests) > 1:
        return "with null: true no other test can hold"
    lows = [test for test in tests if test.operator in ("gt", "ge")]
    highs = [test for test in tests if test.operator in ("lt", "le")]
    for low in lows:
        for high in highs:
            if isinstance(low.argument, (int, float)) and isinstance(high.argument, (int, float)):
                strict = low.operator == "gt" or high.operator == "lt"
                if low.argument > high.argument or (strict and low.argument == high.argument):
                    return f"no number satisfies both {str(low)!r} and {str(high)!r}"
    return None
