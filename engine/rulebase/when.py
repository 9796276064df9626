"""Reading ``when``: patterns, ``not`` and ``any-of``, expanded to plain conjunctions."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

from mlx_diagnose.engine.model import SEVERITIES, STAGES
from mlx_diagnose.engine.rulebase.failure_classes import FAILURE_CLASSES
from mlx_diagnose.engine.rulebase.predicates import OPERATORS, FieldTest, bad_argument, contradiction
from mlx_diagnose.engine.rulebase.problems import did_you_mean, one_of
from mlx_diagnose.engine.rulebase.rule import SUBJECT_KINDS, Conjunction, Pattern
from mlx_diagnose.engine.rulebase.yaml_tree import Node, Tree, resolve
from mlx_diagnose.engine.vocabulary import VOCABULARY, Field, FieldType

#: Limits of the restricted subset in which durable_rules gives right answers.
MAX_PATTERNS = 12
MAX_JOINS = 20
#: any-of multiplies; a rule that becomes more than this many is several rules.
MAX_ALTERNATIVES = 24

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
#: Names that texts use for something else.
RESERVED = frozenset({"subjects", "count"})

#: Fields whose values are a closed list, wherever they stand.
_CLOSED = {
    ("finding", "failure_class"): FAILURE_CLASSES,
    ("finding", "severity"): SEVERITIES,
    ("finding", "subject_kind"): SUBJECT_KINDS,
    ("stage", "name"): STAGES,
}

_PATTERN_KEYS = ("fact", "as", "where")
_NEGATED = "not"
_ANY_OF = "any-of"

_Part = tuple[bool, Pattern]  # positive?, pattern


class WhenReader:
    """Reads the conditions of one rule."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._position = 0
        self._nodes: dict[int, Node] = {}

    def read(self, node: Node) -> tuple[Conjunction, ...]:
        """The alternatives; empty if a problem was recorded."""
        tree = self._tree
        before = len(tree.problems)
        conditions = self._conditions(node, "when")
        if len(tree.problems) > before:
            return ()
        if not conditions:
            tree.problem(node, "when has no pattern", "A rule needs at least one: - fact: KIND")
            return ()
        expanded = [tuple(part for group in choice for part in group) for choice in product(*conditions)]
        if len(expanded) > MAX_ALTERNATIVES:
            tree.problem(
                node,
                f"any-of makes {len(expanded)} alternatives of this rule, {MAX_ALTERNATIVES} are allowed",
                "Write several rules.",
            )
            return ()
        alternatives = tuple(self._conjunction(parts) for parts in expanded)
        for index, alternative in enumerate(alternatives):
            if not self._check(alternative, index, len(alternatives)):
                break
        return alternatives if len(tree.problems) == before else ()

    # -- structure --------------------------------------------------------------------------

    def _conditions(self, node: Node, what: str) -> list[list[tuple[_Part, ...]]]:
        """For each condition of the list, its choices; each choice is a run of patterns."""
        return [choices for item in self._tree.items(node, what) or [] if (choices := self._condition(item))]

    def _condition(self, node: Node) -> list[tuple[_Part, ...]]:
        tree = self._tree
        keys = tree.mapping(node, "a condition")
        if keys is None:
            return []
        if _NEGATED in keys or _ANY_OF in keys:
            if len(keys) != 1:
                name = _NEGATED if _NEGATED in keys else _ANY_OF
                tree.problem(
                    node,
                    f"{name!r} must stand alone in its condition",
                    f"Indent what belongs to it below {name!r}, or start a new '- '.",
                )
                return []
            if _NEGATED in keys:
                return self._negation(keys[_NEGATED][1])
            return self._any_of(keys[_ANY_OF][1])
        pattern = self._pattern(node, (*_PATTERN_KEYS, _NEGATED, _ANY_OF))
        return [((True, pattern),)] if pattern else []

    def _negation(self, node: Node) -> list[tuple[_Part, ...]]:
        keys = self._tree.mapping(node, "not")
        if keys is None:
            return []
        for nested in (_NEGATED, _ANY_OF):
            if nested in keys:
                self._tree.problem(
                    keys[nested][0], f"{nested!r} may not stand inside 'not'", "Derive a fact first, and negate that."
                )
                return []
        if "as" in keys:
            self._tree.problem(keys["as"][0], "a negated pattern matches no fact, so it takes no name")
            return []
        pattern = self._pattern(node, _PATTERN_KEYS)
        return [((False, pattern),)] if pattern else []

    def _any_of(self, node: Node) -> list[tuple[_Part, ...]]:
        choices: list[tuple[_Part, ...]] = []
        items = self._tree.items(node, _ANY_OF)
        if items is not None and len(items) < 2:
            self._tree.problem(node, "any-of needs at least two lists of patterns")
        for item in items or []:
            inner = self._conditions(item, "an alternative of any-of")
            if not inner and item.id == "sequence" and not item.value:
                self._tree.problem(item, "an alternative of any-of has no pattern")
            choices.extend(tuple(part for group in choice for part in group) for choice in product(*inner))
        return choices

    # -- a pattern --------------------------------------------------------------------------

    def _pattern(self, node: Node, known: tuple[str, ...]) -> Pattern | None:
        tree = self._tree
        keys = tree.record(node, "a pattern", known, required=("fact",))
        if keys is None or "fact" not in keys:
            return None
        kind = tree.text(keys["fact"], "fact")
        if kind is None:
            return None
        if kind not in VOCABULARY:
            tree.problem(
                keys["fact"],
                f"there is no kind of fact {kind!r}",
                did_you_mean(kind, VOCABULARY) or "`diagnose rules docs` lists the kinds.",
            )
            return None
        alias = self._alias(keys["as"]) if "as" in keys else kind
        tests: list[FieldTest] = []
        binds: list[tuple[str, str]] = []
        where = tree.mapping(keys["where"], "where") if "where" in keys else {}
        for name, (key, value) in (where or {}).items():
            field = VOCABULARY[kind].fields.get(name)
            if field is None:
                fields = VOCABULARY[kind].fields
                tree.problem(key, f"{kind} has no field {name!r}", did_you_mean(name, fields) or one_of(fields))
            else:
                self._field(kind, name, field, value, tests, binds)
        self._position += 1
        self._nodes[self._position] = node
        return Pattern(kind, alias or kind, tuple(tests), tuple(binds), self._position, node.start_mark.line + 1)

    def _alias(self, node: Node) -> str | None:
        name = self._tree.text(node, "as")
        if name is None:
            return None
        if not NAME.fullmatch(name) or name in RESERVED:
            self._tree.problem(
                node, f"{name!r} cannot name a fact", "Use letters, digits and _; 'subjects' and 'count' are taken."
            )
            return None
        return name

    def _variable(self, node: Node) -> str | None:
        name: str = node.value[1:] if node.value.startswith("$") else ""
        if not NAME.fullmatch(name) or name in RESERVED:
            self._tree.problem(
                node,
                f"{node.value!r} is not a variable such as $path",
                "A text that starts with $ is a variable; write {equals: ...} for a constant.",
            )
            return None
        return name

    def _field(
        self, kind: str, name: str, field: Field, node: Node, tests: list[FieldTest], binds: list[tuple[str, str]]
    ) -> None:
        tree = self._tree
        if node.id == "scalar":
            value = resolve(node)
            if isinstance(value, str) and value.startswith("$"):
                variable = self._variable(node)
                if variable:
                    binds.append((name, variable))
                return
            self._accept(kind, field, FieldTest(name, "equals", value), node, tests)
            return
        if node.id == "sequence":
            tree.problem(
                node, f"{kind}.{name} must be a value or a test, not a list", "Write {in: [...]} for one of several."
            )
            return
        mine: list[FieldTest] = []
        for operator, (key, value_node) in (tree.mapping(node, name) or {}).items():
            if operator == "as":
                variable = self._variable(value_node) if value_node.id == "scalar" else None
                if variable:
                    binds.append((name, variable))
                elif value_node.id != "scalar":
                    tree.problem(value_node, "as must name a variable such as $path")
            elif operator not in OPERATORS:
                tree.problem(
                    key, f"there is no test {operator!r}", did_you_mean(operator, OPERATORS) or one_of(OPERATORS)
                )
            else:
                test = self._test(name, operator, value_node)
                if test:
                    self._accept(kind, field, test, value_node, mine)
        if len(mine) > 1 and (reason := contradiction(tuple(mine))):
            tree.problem(node, f"these tests of {kind}.{name} can never hold together: {reason}")
        tests.extend(mine)

    def _test(self, field: str, operator: str, node: Node) -> FieldTest | None:
        if OPERATORS[operator].argument == "constants":
            items = self._tree.items(node, operator)
            if items is not None and not items:
                self._tree.problem(node, f"{operator} needs at least one value")
                return None
            values = [self._tree.scalar(item, f"an item of {operator}") for item in items or []]
            if items is None or None in values:
                return None
            return FieldTest(field, operator, tuple(value[0] for value in values if value is not None))
        found = self._tree.scalar(node, operator)
        return FieldTest(field, operator, found[0]) if found is not None else None

    def _accept(self, kind: str, field: Field, test: FieldTest, node: Node, tests: list[FieldTest]) -> None:
        reason = bad_argument(test, field)
        if reason:
            self._tree.problem(node, f"{kind}.{test.field}: {test.operator} cannot be asked: {reason}")
            return
        allowed = STAGES if test.field == "stage" else _CLOSED.get((kind, test.field))
        if allowed and test.operator in ("equals", "in"):
            for value in test.argument if isinstance(test.argument, tuple) else (test.argument,):
                if isinstance(value, str) and value not in allowed:
                    self._tree.problem(
                        node, f"{kind}.{test.field} is never {value!r}", did_you_mean(value, allowed) or one_of(allowed)
                    )
                    return
        tests.append(test)

    # -- after expansion --------------------------------------------------------------------

    def _conjunction(self, parts: tuple[_Part, ...]) -> Conjunction:
        """Positive and negative patterns; a kind that several unnamed patterns share is told apart by number."""
        positive: list[Pattern] = []
        used: set[str] = set()
        for is_positive, pattern in parts:
            if not is_positive:
                continue
            alias, number = pattern.alias, 2
            if pattern.alias == pattern.kind:
                while alias in used:
                    alias, number = f"{pattern.kind}-{number}", number + 1
            used.add(alias)
            positive.append(replace(pattern, alias=alias) if alias != pattern.alias else pattern)
        return Conjunction(tuple(positive), tuple(pattern for is_positive, pattern in parts if not is_positive))

    def _check(self, alternative: Conjunction, index: int, total: int) -> bool:
        tree = self._tree
        before = len(tree.problems)
        where = f" (alternative {index + 1} of any-of)" if total > 1 else ""
        size = len(alternative.positive) + len(alternative.negative)
        joins = sum(max(0, len(pattern.binds)) for pattern in (*alternative.positive, *alternative.negative))
        first = self._nodes[min(p.position for p in (*alternative.positive, *alternative.negative))]
        if size > MAX_PATTERNS:
            tree.problem(
                first,
                f"the rule has {size} patterns{where}; {MAX_PATTERNS} are allowed",
                "Derive a fact from some of them first.",
            )
        if joins > MAX_JOINS:
            tree.problem(
                first,
                f"the rule binds variables {joins} times{where}; {MAX_JOINS} are allowed",
                "Derive a fact from some patterns first.",
            )
        aliases: set[str] = set()
        types: dict[str, tuple[FieldType, Pattern, str]] = {}
        for pattern in alternative.positive:
            node = self._nodes[pattern.position]
            if pattern.alias in aliases:
                tree.problem(node, f"two patterns are named {pattern.alias!r}{where}")
            aliases.add(pattern.alias)
            for field, variable in pattern.binds:
                self._join(pattern, field, variable, types)
        for pattern in alternative.negative:
            for field, variable in pattern.binds:
                if variable not in types:
                    tree.problem(
                        self._nodes[pattern.position],
                        f"${variable} is not bound outside this 'not'{where}",
                        did_you_mean(variable, types)
                        or "Bind it in a pattern that must match, or leave the field out.",
                    )
                else:
                    self._join(pattern, field, variable, types)
        return len(tree.problems) == before

    def _join(
        self, pattern: Pattern, field: str, variable: str, types: dict[str, tuple[FieldType, Pattern, str]]
    ) -> None:
        declared = VOCABULARY[pattern.kind].fields[field].type
        known, other, other_field = types.setdefault(variable, (declared, pattern, field))
        if known != declared and {known, declared} != {"int", "float"}:
            self._tree.problem(
                self._nodes[pattern.position],
                f"${variable} joins {pattern.kind}.{field} ({declared}) with {other.kind}.{other_field} ({known}), "
                "which can never be equal",
            )
