"""Forward chaining: rules over working memory, stratum by stratum, each to its fixpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from mlx_diagnose.engine.inference.budget import overflowing
from mlx_diagnose.engine.inference.conclusions import asserted
from mlx_diagnose.engine.inference.engines import CLIPS, EngineFailure, available_engines, build_engine, check_engine
from mlx_diagnose.engine.inference.findings import make_findings
from mlx_diagnose.engine.inference.matching import activation_of
from mlx_diagnose.engine.inference.network import Intake, Match, Message, Network, Production, compile_network
from mlx_diagnose.engine.inference.ordering import activation_key
from mlx_diagnose.engine.inference.relevance import relevant
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Activation, DiagnoseError, Fact, Finding, Provenance
from mlx_diagnose.engine.rulebase.loader import RuleBase
from mlx_diagnose.engine.rulebase.rule import Rule
from mlx_diagnose.engine.rulebase.strata import produced, strata

#: Rounds of one stratum; a derivation that still brings news then makes up values without end.
MAX_ROUNDS = 50
#: Facts that rules may derive in one run.
MAX_DERIVED = 5000


@dataclass(frozen=True, slots=True)
class Inference:
    """What the rules concluded.

    ``memory`` holds the given facts, the derived ones and one ``finding`` fact a subject.
    ``activations`` are in a fixed order that depends neither on the engine nor on the order
    of facts. ``notes`` say what did not go as asked: another engine, a rule left out.
    ``derivations`` maps the id of a derived fact to the activation that gave it first.
    """

    activations: tuple[Activation, ...]
    findings: tuple[Finding, ...]
    memory: WorkingMemory
    engine: str
    notes: tuple[str, ...] = ()
    derivations: Mapping[str, Activation] = field(default_factory=dict)

    @property
    def facts(self) -> tuple[Fact, ...]:
        """All facts, the derived ones last."""
        return tuple(self.memory)


def infer(
    rulebase: RuleBase,
    memory: WorkingMemory,
    *,
    engine: str | None = None,
    category: str | None = None,
    family: str | None = None,
    mlx_audio: str | None = None,
) -> Inference:
    """Run the rules that apply to this category, family and mlx-audio version over ``memory``.

    ``memory`` is left as it is. ``engine`` is ``durable`` or ``clips``; by default
    durable_rules where it is installed, and CLIPS where it is not or where it fails (a note
    says so). Raises UsageError for an engine that is not here.
    """
    check_engine(engine)
    rules = rulebase.applicable(category=category, family=family, mlx_audio=mlx_audio)
    candidates = [engine] if engine else list(available_engines())
    notes: list[str] = []
    for name in candidates:
        try:
            return _Run(name, rules, memory, tuple(notes)).inference()
        except EngineFailure as failure:
            if name == CLIPS or engine is not None:
                raise DiagnoseError(
                    "inference-failed",
                    f"the inference engine failed: {failure}",
                    why="This is a defect of diagnose or of the engine, not of your model.",
                    next_step="Try the other engine (--engine clips), and report it.",
                ) from failure
            notes.append(f"{name} failed, {CLIPS} was used instead: {failure}")
    raise DiagnoseError(
        "no-engine", "no inference engine is installed", next_step="Reinstall mlx-diagnose; it requires clipspy."
    )


class _Run:
    """One run on one engine."""

    def __init__(self, engine: str, rules: Sequence[Rule], memory: WorkingMemory, notes: tuple[str, ...]) -> None:
        self._engine = engine
        self._rules = rules
        self._memory = memory.copy()
        self._notes = list(notes)
        self._activations: dict[tuple[object, ...], Activation] = {}
        self._derivations: dict[str, Activation] = {}
        self._derived = 0

    def inference(self) -> Inference:
        for stratum in strata(self._rules):
            if stratum:
                self._run_stratum(stratum)
        ordered = sorted(
            self._activations.values(),
            key=activation_key({fact.id: fact for fact in self._memory}),
        )
        findings = make_findings({rule.id: rule for rule in self._rules}, ordered, self._memory)
        return Inference(
            tuple(ordered), tuple(findings), self._memory, self._engine, tuple(self._notes), self._derivations
        )

    def _run_stratum(self, rules: Sequence[Rule]) -> None:
        network = compile_network(rules)
        intake = Intake(network)
        blockers, others = intake.messages(self._memory)
        others.append(intake.always())
        to_come = {produced(rule)[0] for rule in rules}
        still_open = {n for n, alpha in enumerate(network.alphas) if alpha is not None and alpha.kind in to_come}
        network = _possible(network, others, still_open)
        used = relevant(network.productions, [*blockers, *others], still_open)
        network = self._within_budget(network, used)
        if not network.productions:
            return
        engine = build_engine(self._engine, network.productions)
        seen, news = used, used
        for _ in range(MAX_ROUNDS):
            fresh = self._conclude(network, intake, engine.assert_messages(news))
            if not fresh:
                return
            # Facts that this stratum derives are negated only in later ones: no blocker can be late.
            _, news = intake.messages(fresh)
            seen = [*seen, *news]
            too_much = overflowing(network.productions, seen)
            if too_much:
                self._leave_out(network, too_much)
                return
        self._notes.append(f"rules {_names(rules)} still derived new facts after {MAX_ROUNDS} rounds and were stopped")

    def _within_budget(self, network: Network, messages: Sequence[Message]) -> Network:
        """Without the productions that would match in too many ways."""
        too_much = overflowing(network.productions, messages)
        if not too_much:
            return network
        self._leave_out(network, too_much)
        kept = tuple(production for index, production in enumerate(network.productions) if index not in too_much)
        return Network(network.rules, kept, network.alphas)

    def _leave_out(self, network: Network, indices: set[int]) -> None:
        names = _names([network.rules[network.productions[index].rule] for index in sorted(indices)])
        self._notes.append(
            f"left out, because their patterns match in too many ways: {names}; join the patterns by variables"
        )

    def _conclude(self, network: Network, intake: Intake, matches: Sequence[Match]) -> list[Fact]:
        """Record activations; assert and return the facts that are new."""
        found: list[tuple[Rule, Activation]] = []
        # Alternatives in the order of the rule: of those that match the same facts the first speaks.
        for index, numbers in sorted(matches):
            production = network.productions[index]
            rule = network.rules[production.rule]
            activation = _activation(rule, production, [intake.fact(number) for number in numbers])
            key = (rule.id, activation.facts, frozenset(activation.bindings))
            if key not in self._activations:
                self._activations[key] = activation
                found.append((rule, activation))
        facts = {fact.id: fact for fact in self._memory}
        order = activation_key(facts)
        fresh: list[Fact] = []
        for rule, activation in sorted(found, key=lambda item: order(item[1])):
            for kind, fields in asserted(rule, activation, facts):
                if self._derived >= MAX_DERIVED:
                    self._notes.append(
                        f"more than {MAX_DERIVED} facts were derived; the rest was left out (rule {rule.id})"
                    )
                    return fresh
                before = len(self._memory)
                fact = self._memory.add(kind, Provenance(f"rule:{rule.id}"), **fields)
                if len(self._memory) > before:
                    self._derived += 1
                    self._derivations[fact.id] = activation
                    fresh.append(fact)
        return fresh


def _possible(network: Network, messages: Sequence[Message], still_open: Set[int]) -> Network:
    """Without the productions one of whose patterns no fact passes, now or later."""
    present = {message.alpha for message in messages} | still_open
    kept = [p for p in network.productions if all(c.alpha in present for c in p.positive)]
    return Network(network.rules, tuple(kept), network.alphas)


def _activation(rule: Rule, production: Production, facts: Sequence[Fact | None]) -> Activation:
    conjunction = rule.alternatives[production.alternative]
    places = dict(zip(production.order, facts, strict=False))  # one message more where nothing is positive
    matched = [fact for place in range(len(conjunction.positive)) if (fact := places[place]) is not None]
    return activation_of(rule, conjunction, matched)


def _names(rules: Sequence[Rule]) -> str:
    return ", ".join(dict.fromkeys(rule.id for rule in rules))
