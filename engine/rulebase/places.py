"""Which names the texts of a rule may use, and reading those texts."""

from __future__ import annotations

from mlx_diagnose.engine.model import Scalar
from mlx_diagnose.engine.rulebase.problems import did_you_mean
from mlx_diagnose.engine.rulebase.rule import Conjunction
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
        types = {self._type(template.parts[0])} if len(template.parts) == 1 else {("str", False)}
        for declared, nullable in types:
            if declared is not None and declared != field.type and (declared, field.type) != ("int", "float"):
                self._tree.problem(node, f"{what} is {field.type}, and {template.source!r} is {declared}")
                return None
            if nullable and not field.nullable:
                self._tree.problem(
                    node,
                    f"{what} is never null, and {template.source!r} may be",
                    "Test for {null: false} where it is bound.",
                )
                return None
        return (template,)

    def _type(self, part: str | Place | Segment) -> tuple[FieldType | None, bool]:
        """Type of a place, and whether it may be null here."""
        if not isinstance(part, Place):
            return "str", False
        declared: FieldType | None = None
        nullable = False
        for index, conjunction in enumerate(self._alternatives):
            sources = [
                (pattern, field)
                for pattern in conjunction.positive
                for field, variable in (pattern.binds if part.field is None else ((part.field, ""),))
                if (variable == part.name if part.field is None else pattern.alias == part.name)
            ]
            if not sources:
                return None, False
            pattern, field = sources[0]
            spec = VOCABULARY[pattern.kind].fields[field]
            declared = spec.type if declared in (None, spec.type) else None
            # A variable that joins is never null, and neither is a field that passed a comparison.
            tested = any(
                test.field == field
                and not (test.argument is None or (test.operator == "null" and test.argument))
                and not (isinstance(test.argument, tuple) and None in test.argument)
                for test in pattern.tests
            ) or any(test.field == field and test.operator == "not" for test in pattern.tests)
            nullable = nullable or (spec.nullable and not tested and len(sources) == 1)
            del index
        return declared, nullable

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
