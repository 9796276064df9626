"""The parts of a model, as a load showed them: what each is made of, what it is for, which of them fails."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlx_diagnose.collectors.process import Message
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance
from mlx_diagnose.engine.specimen import collapse

#: Parts that are told at most.
_MAX_PARTS = 80

#: What names of attributes and classes say a part is for; the first that fits counts.
_ROLES = (
    ("cache", r"cache"),
    ("predictor", r"predictor|prosody|duration"),
    ("speaker-encoder", r"speaker|spk|ecapa|campplus|xvector|voice_?enc|style_?enc|ref_?enc"),
    ("codec", r"codec|vae|\bdac|snac|encodec|mimi|xcodec|quantiz|(speech|audio|acoustic|semantic|s3)_?tok"),
    ("vocoder", r"vocod|vocos|hift|hifi|istft|bigvgan|generator|s3gen|mel2wav"),
    ("tokenizer", r"tokeni[sz]er|phonemi[sz]er|processor"),
    ("text-encoder", r"text_?enc|bert|\bt5|phoneme|text_?emb"),
    ("diffusion", r"diffusion|\bdit|flow|cfm|unet|estimator|prediction_?head|denois|schedul"),
    (
        "backbone",
        r"language_?model|\bllm|\blm\b|_lm\b|gpt|qwen|llama|minicpm|mistral|talker|backbone|transformer|\bt3\b",
    ),
    ("decoder", r"decod"),
    ("encoder", r"encod"),
    ("backbone", r"model$"),
)


@dataclass(frozen=True, slots=True)
class Component:
    """A part of a model.

    ``section`` is the part of config.json that it is given ("" for all of it), None where it is
    given single values (``keys``) or nothing of the config; ``through`` are the classes that a
    failure went through, outermost first.
    """

    name: str
    class_name: str
    module: str
    role: str
    depth: int
    how: str
    stage: str
    section: str | None
    keys: tuple[str, ...]
    target: str | None
    tensors: int | None
    bytes: int | None
    through: tuple[str, ...]
    chain: tuple[Message, ...]

    @property
    def built(self) -> bool:
        return not self.chain


def components(message: Mapping[str, Any]) -> list[Component]:
    """The parts of a ``components`` message, those alike in everything but a number in one."""
    names: list[str] = []
    found: dict[str, Component] = {}
    for part in message["parts"]:
        outer = "" if part["parent"] is None else names[part["parent"]] + "."
        names.append(outer + (part["name"] or part["class_name"]))
        component = _component(names[-1], part)
        # A second part of one name: made in its place, or passed on without one.
        found.setdefault(component.name, component)
    alike = {name: (repr(_likeness(component)), ()) for name, component in found.items()}
    return [_named(name, found) for name in collapse(alike)][:_MAX_PARTS]


def _component(name: str, part: Mapping[str, Any]) -> Component:
    tensors = part["tensors"] or (None, None)
    return Component(
        name=name,
        class_name=part["class_name"],
        module=part["module"],
        role=role_of(str(part["name"] or ""), part["class_name"], part["module"]),
        depth=part["depth"],
        how=part["how"],
        stage=part["stage"],
        section=part["section"],
        keys=tuple(part["keys"]),
        target=part["target"],
        tensors=tensors[0],
        bytes=tensors[1],
        through=tuple(part["through"]),
        chain=tuple(part["chain"]),
    )


def _likeness(component: Component) -> tuple[object, ...]:
    return (component.class_name, component.module, component.section, component.keys, component.how, component.built)


def _named(pattern: str, found: Mapping[str, Component]) -> Component:
    from dataclasses import replace

    first = found.get(pattern) or found[re.sub(r"\{(\d+)\.\.\d+\}", r"\1", pattern)]
    return replace(first, name=pattern)


def role_of(name: str, class_name: str, module: str) -> str:
    """What a part is for, by its name, else by its class; ``layer`` for MLX's own, ``other`` where nothing tells."""
    if module.startswith("mlx.nn"):
        return "layer"
    spelled = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", class_name)
    for text in (name, spelled):
        for role, pattern in _ROLES:
            if re.search(pattern, text, re.IGNORECASE):
                return role
    return "other"


def assert_facts(memory: WorkingMemory, parts: Sequence[Component], raised: Sequence[Message]) -> None:
    """Assert a ``component_build`` fact for each part. ``raised`` is the chain of exceptions that ended the load."""
    ends = {(link["type"], link["message"]) for link in raised}
    failed = [part for part in parts if part.depth == 1 and not part.built]
    for part in parts:
        if part.depth > 1 and (part.built or part.role == "layer") and part.role in ("layer", "other"):
            continue
        error = part.chain[0] if part.chain else None
        frame = error["frames"][-1] if error and error["frames"] else {}
        memory.add(
            "component_build",
            Provenance("components", frame.get("file"), frame.get("line"), part.section),
            component=part.name,
            role=part.role,
            class_name=part.class_name,
            module=part.module,
            nested=part.depth > 1,
            how=part.how,
            stage=part.stage,
            section=part.section,
            keys=", ".join(part.keys) or None,
            target=part.target,
            outcome="built" if part.built else "failed",
            alone=part.depth == 1 and failed == [part],
            ends_load=error is not None and (error["type"], error["message"]) in ends,
            innermost=part.through[-1] if part.through else None,
            exception_type=error["type"] if error else None,
            message=error["message"][:500] if error else None,
            tensors=part.tensors,
            bytes=part.bytes,
        )


def of_section(parts: Iterable[Component], section: str) -> list[Component]:
    """The model's own parts that are given ``section`` of the config, or something of it."""
    return [
        part
        for part in parts
        if part.depth == 1
        and (part.section == section or any(key.startswith(section + ".") for key in (*part.keys, part.section or "")))
    ]
