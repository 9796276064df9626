"""Which names the texts of a rule may use, and reading those texts."""

from __future__ import annotations

from collections.abc import Set

from mlx_diagnose.engine.model import Scalar
from mlx_diagnose.engine.rulebase.predicates import predicate
from mlx_diagnose.engine.rulebase.problems import did_you_mean
from mlx_diagnose.engine.rulebase.rule import Conjunction, Pattern
from mlx_diagnose.engine.rulebase.template import Place, Segment, Template, TemplateError, parse_template
from mlx_diagnose.engine.rulebase.yaml_tree import Node, Tree
from mlx_diagnose.engine.vocabulary import VOCABULARY, Field, FieldType

#: Places that only merged texts know: the subjects and the number of merged activations.
MERGED = frozenset({"subjects", "count"})


class Scope:
    """The variables and aliases that every alternative of a rule binds."""

    def __init__(self, tree: Tree, alternatives: tuple[Conjunction, ...]) -> None:
        self._tree = tree
        self._alternatives = alternatives
        self._variables = [{v: (p.kind, f) for p in c.positive for f, v in p.binds} for c in alternatives]
        self._aliases = [{p.alias: p.kind for p in c.positive} for c in alternatives]

    def text(self, node: Node, what: str, *, merged: bool = False) -> Template | None:
        """A template all of whose places are bound; ``merged`` allows {subjects} and {count}."""
        source = self._tree.text(node, what)
        return self._parsed(node, source, what, merged) if source is not None else None

    def subject(self, node: Node, what: str) -> Template | None:
        """A template; ``$name`` stands for ``{name}``."""
        source = self._tree.text(node, what)
        if source is None:
            return None
        return self._parsed(node, f"{{{source[1:]}}}" if source.startswith("$") else source, what, merged=False)

    def content(self, node: Node, what: str, field: Field) -> tuple[Template | Scalar] | None:
        """A template, or a constant, in a tuple; None if a problem was recorded."""
        found = self._tree.scalar(node, what)
        if found is None:
            return None
        value = found[0]
        if not isinstance(value, str):
            return (value,)
        template = self._parsed(node, f"{{{value[1:]}}}" if value.startswith("$") else value, what, merged=False)
        if template is None:
            return None
        if not template.places:
            return (template.text(lambda place: None),)
        types, nullable = self._types(template.parts[0]) if len(template.parts) == 1 else ({"str"}, False)
        for declared in sorted(types):
            if declared != field.type and (declared, field.type) != ("int", "float"):
                self._tree.problem(node, f"{what} is {field.type}, and {template.source!r} is {declared}")
                return None
        if nullable and not field.nullable:
            hint = "Test for {null: false} where it is bound."
            self._tree.problem(node, f"{what} is never null, and {template.source!r} may be", hint)
            return None
        return (template,)

    def _types(self, part: str | Place | Segment) -> tuple[Set[FieldType], bool]:
        """Types that a place has in the alternatives (none if it is not bound), and whether it may be null."""
        if not isinstance(part, Place):
            return {"str"}, False
        found = [_sources(part, conjunction) for conjunction in self._alternatives]
        if not all(found):
            return set(), False
        specs = [VOCABULARY[sources[0][0].kind].fields[sources[0][1]] for sources in found]
        # A variable that joins is never null, and neither is a field that passed a comparison.
        nullable = any(
            spec.nullable and len(sources) == 1 and not _excludes_null(*sources[0])
            for spec, sources in zip(specs, found, strict=True)
        )
        return {spec.type for spec in specs}, nullable

    def _parsed(self, node: Node, source: str, what: str, merged: bool) -> Template | None:
        try:
            template = parse_template(source)
        except TemplateError as error:
            self._tree.problem(node, f"{what}: {error}")
            return None
        if not self._alternatives:
            return template  # problems in `when` are reported already
        bad = False
        for place in template.places:
            reason = self._unbound(place, merged)
            if reason:
                bad = True
                self._tree.problem(node, f"{what}: {reason[0]}", reason[1])
        return None if bad else template

    def _unbound(self, place: Place, merged: bool) -> tuple[str, str] | None:
        if place.field is None and place.name in MERGED:
            return None if merged else (f"{place} is known only in cause, title, command and reason", "")
        several = len(self._alternatives) > 1
        for index, (variables, aliases) in enumerate(zip(self._variables, self._aliases, strict=True)):
            where = f" in alternative {index + 1} of any-of" if several else ""
            if place.field is None:
                if place.name not in variables:
                    hint = did_you_mean(place.name, (*variables, *MERGED)) if variables else ""
                    if place.name in aliases:
                        hint = f"It names a fact; write {{{place.name}.FIELD}}."
                    return f"{place} is not bound{where}", hint
            elif place.name not in aliases:
                hint = did_you_mean(place.name, aliases) or "Name the pattern with 'as'."
                return f"{place}: no matched fact is named {place.name!r}{where}", hint
            elif place.field not in VOCABULARY[aliases[place.name]].fields:
                fields = VOCABULARY[aliases[place.name]].fields
                return f"{place}: {aliases[place.name]} has no field {place.field!r}", did_you_mean(place.field, fields)
        return None


def _sources(place: Place, conjunction: Conjunction) -> list[tuple[Pattern, str]]:
    """Patterns and fields that a place takes its value from."""
    if place.field is not None:
        return [(pattern, place.field) for pattern in conjunction.positive if pattern.alias == place.name]
    return [
        (pattern, field)
        for pattern in conjunction.positive
        for field, variable in pattern.binds
        if variable == place.name
    ]


def _excludes_null(pattern: Pattern, field: str) -> bool:
    """Whether a test of the field holds for no null."""
    return any(test.field == field and not predicate(test)(None) for test in pattern.tests)
