"""Single changes of a config that might mend a load, likeliest first, read off the facts of the failure.

Names come from similarity, types from annotations, numbers from the shapes: where the model
wants ``m`` and the checkpoint has ``c``, a key of value ``m`` may want to be ``c``, a factor of
``m`` may want to scale, an addend to shift; a key that equals a count of layers may want the
count of the checkpoint. Nothing here decides: every candidate is tried.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from mlx_diagnose.collectors.config import value_at
from mlx_diagnose.collectors.config_edit import Edit, Path, dotted, leaves
from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.engine.memory import WorkingMemory

#: Pairs of sizes (model, checkpoint) that are followed up.
_MAX_PAIRS = 12
#: Numbers of parts that are tried for a width, and how wide a width is at most.
_MAX_SHARES = 12
_WIDEST = 65_536
#: Sizes up to here occur everywhere and point to nothing.
_TRIVIAL = 1


@dataclass(frozen=True, slots=True)
class Candidate:
    """An edit, how likely it is (larger first), what it was read off, and the default it overrides.

    ``must_load``: to get further is not enough, since any other family may fail later.
    """

    edit: Edit
    weight: float
    evidence: str | None = None
    default: Any = None
    must_load: bool = False


def candidates(config: Mapping[str, Any], memory: WorkingMemory, run: LoadRun) -> list[Candidate]:
    """All candidates, the likeliest first, each edit once."""
    best: dict[str, Candidate] = {}
    for candidate in _all(config, memory, run):
        key = repr(candidate.edit)
        if key not in best or best[key].weight < candidate.weight:
            best[key] = candidate
    return sorted(best.values(), key=lambda candidate: (-candidate.weight, repr(candidate.edit)))


def _all(config: Mapping[str, Any], memory: WorkingMemory, run: LoadRun) -> Iterator[Candidate]:
    yield from _renames(memory)
    yield from _conversions(config, memory)
    yield from _overridden(memory)
    yield from _moved_sections(config, memory)
    yield from _model_types(config, memory)
    yield from _quantization(config, memory)
    yield from _known_good(config, memory, run)
    yield from _choices(memory)
    yield from _hollow(memory)
    yield from _emptied(memory)
    yield from _beyond(config, memory)
    yield from _shares(memory)
    if not explained_otherwise(memory):
        yield from _numbers(config, memory, run)
        yield from _mirrored(config, memory, run)
        yield from _switches(config, memory, run)


def explained_otherwise(memory: WorkingMemory) -> bool:
    """Whether the tensors differ for a reason that no number of the config has: files, order of axes, names."""
    difference = memory.one("weights_difference")
    # A shard that is not there makes tensors missing; that others have another shape is for another reason.
    shapes_differ = difference is not None and int(str(difference["shape"])) > 0
    most_misnamed = difference is not None and int(str(difference["missing"])) > int(str(difference["matched"]))
    return bool(
        (lacks_shards(memory) and not shapes_differ)
        or memory.of("tensor_layout", all_shape_differences=True)
        or (
            # A few renamed tensors may as well be layers that a number of the config assigns elsewhere.
            most_misnamed
            and any(
                float(fact["share_of_missing"] or 0) > 0.9 or float(fact["share_of_unexpected"] or 0) > 0.9
                for fact in memory.of("tensor_rename", ambiguous=False)
            )
        )
    )


def lacks_shards(memory: WorkingMemory) -> bool:
    """Whether tensors of the checkpoint are in files that are not there."""
    return any(fact["absent_tensors"] != 0 or not fact["index_file"] for fact in memory.of("shard", present=False))


def _path(dotted: str) -> Path:
    return tuple(int(part) if part.isdecimal() else part for part in dotted.split("."))


def _renames(memory: WorkingMemory) -> Iterator[Candidate]:
    for fact in memory.of("key_similarity"):
        score = float(fact["score"] or 0)
        bonus = 20 if fact["required"] else 10
        yield Candidate(
            Edit("rename", _path(str(fact["given"])), to=_path(str(fact["wanted"]))),
            bonus + score * 10 + (5 if fact["best"] else 0),
            evidence=f"{fact['given']} = {fact['value']}",
        )


def _overridden(memory: WorkingMemory) -> Iterator[Candidate]:
    """The first value of a key that is given twice."""
    for fact in memory.of("duplicate_key"):
        if fact["first"] is not None and fact["first"] != fact["last"]:
            with suppress(ValueError):
                value = json.loads(str(fact["first"]))
                yield Candidate(
                    Edit("replace", _path(str(fact["path"])), value), 28, f"{fact['path']} stands there twice"
                )


def _conversions(config: Mapping[str, Any], memory: WorkingMemory) -> Iterator[Candidate]:
    for fact in memory.of("type_disagreement", convertible=True):
        if fact["converted"] is not None:
            yield Candidate(Edit("replace", _path(str(fact["path"])), json.loads(str(fact["converted"]))), 30)


def taken_for_true(memory: WorkingMemory) -> Iterator[Candidate]:
    """True for the text "false": what the code took it for, where what it says does not load."""
    for fact in memory.of("type_disagreement", expected="bool", actual="string", converted="false"):
        evidence = f"{fact['value']} is a text, and as such true"
        yield Candidate(Edit("replace", _path(str(fact["path"])), True), 1, evidence)


def _moved_sections(config: Mapping[str, Any], memory: WorkingMemory) -> Iterator[Candidate]:
    """A section whose keys stand flat at another level is put together again."""
    for fact in memory.of("absent_section"):
        if fact["moved_from"] is not None:
            yield Candidate(Edit("rename", _path(str(fact["moved_from"])), to=_path(str(fact["path"]))), 24)
    for fact in memory.of("absent_section", flattened=True):
        section = str(fact["path"])
        names = [str(parameter["name"]) for parameter in memory.of("init_parameter", section=section)]
        source: Any = config
        for part in _path(str(fact["found_at"] or "")) if fact["found_at"] else ():
            source = source[part]
        if isinstance(source, Mapping):
            gathered = {name: source[name] for name in names if name in source}
            if gathered:
                yield Candidate(Edit("add", _path(section), gathered), 25)


def _model_types(config: Mapping[str, Any], memory: WorkingMemory) -> Iterator[Candidate]:
    resolution = memory.one("resolution")
    if resolution is None:
        return
    wanted = [str(fact["family"]) for fact in memory.of("type_candidate", category=resolution["category"])]
    declared_family = resolution["declared_family"]
    if declared_family is not None and declared_family != resolution["resolved"]:
        wanted.append(str(declared_family))
    operation = "replace" if "model_type" in config else "add"
    for position, family in enumerate(dict.fromkeys(wanted)):
        if family != config.get("model_type"):
            yield Candidate(
                Edit(operation, ("model_type",), family),  # type: ignore[arg-type]
                28 - position,
                must_load=family != declared_family,
            )


def types_by_tensors(config: Mapping[str, Any], run: LoadRun, names: Iterable[str]) -> Iterator[list[Candidate]]:
    """Model types whose families the tensors ``names`` point to, where ``run`` may have been of another one.

    First the families' own names; then other types that the loader remaps to them, which a family may tell apart.
    """
    from mlx_diagnose.collectors import type_evidence
    from mlx_diagnose.collectors.probes import installed

    folder = (run.mlx_audio or {}).get("directory")
    fits = run.tensors is not None and run.tensors["counts"]["matched"] > run.mismatches
    if folder is None or fits:
        return
    families = type_evidence.families(FilePath(folder), run.category, names)
    remapped = installed.remapping(folder, run.category)
    aliases = [alias for family in families for alias, to in remapped.items() if to == family != alias]
    for types in (families, aliases):
        yield [
            Candidate(
                Edit("replace" if "model_type" in config else "add", ("model_type",), name),
                1 - place / 100,
                "the names of the tensors",
                must_load=True,
            )
            for place, name in enumerate(types)
            if name != config.get("model_type")
        ]


def _known_good(config: Mapping[str, Any], memory: WorkingMemory, run: LoadRun) -> Iterator[Candidate]:
    """What a configuration of the family that is known to load has for a missing key, or for a word."""
    from mlx_diagnose.knowledge_base.configurations import known_good

    resolution = memory.one("resolution")
    known = known_good(str(resolution["resolved"]), str(resolution["category"])) if resolution is not None else None
    if known is None:
        return
    values = dict(leaves(known.config()))
    evidence = f"the known-good configuration of {known.family}"
    missing = {str(fact["path"]) for fact in (*memory.of("missing_argument"), *memory.of("missing_key"))}
    # What the user gave under another name is no guess of ours.
    renamed = {str(fact["wanted"]) for fact in memory.of("key_similarity")}
    for dotted_path in sorted(missing - renamed):
        path = _path(dotted_path)
        if path in values:
            yield Candidate(Edit("add", path, values[path]), 22, evidence)
    if run.tensors is not None:
        for fact in memory.of("absent_key", required=False, default="null"):
            # Without it the code works a size out for itself.
            path = _path(str(fact["path"]))
            if type(values.get(path)) is int and str(fact["path"]) not in renamed:
                yield Candidate(Edit("add", path, values[path]), 3, evidence)
    yield from _cut_lists(config, known.config(), evidence)
    for path, value in leaves(dict(config)):
        if isinstance(value, str) and isinstance(values.get(path), str) and values[path] != value:
            # Words choose between kinds of modules; numbers say how large this variant is.
            yield Candidate(Edit("replace", path, values[path]), 4, evidence, must_load=path[-1] == "model_type")


def _cut_lists(config: Mapping[str, Any], known: Mapping[str, Any], evidence: str) -> Iterator[Candidate]:
    """Lists that are shorter or longer than ``known``'s: with the rest of that, or without what it does not have.

    A number in the place of a list is that list's first.
    """
    for path in dict.fromkeys(leaf[:depth] for leaf, _ in leaves(dict(known)) for depth in range(1, len(leaf))):
        given, usual = value_at(config, dotted(path), None), value_at(known, dotted(path), None)
        if type(given) in (int, float):
            given = [given]
        if isinstance(given, list) and isinstance(usual, list) and given and len(given) != len(usual):
            yield Candidate(Edit("replace", path, given[: len(usual)] + usual[len(given) :]), 6, evidence)


def _choices(memory: WorkingMemory) -> Iterator[Candidate]:
    """What the code that chooses by a key knows, where it found nothing for what the config has there."""
    for fact in memory.of("unmatched_choice"):
        for text in json.loads(str(fact["choices"])):
            edit = Edit("replace" if fact["given"] else "add", _path(str(fact["path"])), text)
            yield Candidate(edit, 18, f"{fact.provenance.file}:{fact.provenance.line}", must_load=True)


def _beyond(config: Mapping[str, Any], memory: WorkingMemory) -> Iterator[Candidate]:
    """Where sanitize wants more of what is counted than there is: the keys that count it, with what there is."""
    for fact in memory.of("tensor_gap"):
        what, there = fact["beyond"], int(str(fact["count"]))
        for path, value in leaves(dict(config)) if what is not None else ():
            if type(value) is int and value > there and what in str(path[-1]).lower().split("_"):
                evidence = f"the checkpoint has {there}: {fact['siblings']}"
                yield Candidate(Edit("replace", path, there), 24, evidence)


def _shares(memory: WorkingMemory) -> Iterator[Candidate]:
    """Where a number of parts does not divide the width that it shares out: those that do, the nearest first."""
    given = {str(fact["path"]): fact["default"] for fact in memory.of("absent_key", required=False)}
    seen = set()
    for fact in memory.of("parameter_dependency", relation="divisible", holds=False):
        path = str(fact["other"])
        width, parts = int(str(fact["value"])), int(str(fact["other_value"]))
        if (path, width) in seen or not 0 < width <= _WIDEST:
            continue
        seen.add((path, width))
        shares = sorted((n for n in range(1, width + 1) if width % n == 0), key=lambda n: (abs(n - parts), n))
        evidence = f"{fact['path']} = {width} is not divisible by {parts}"
        for size in memory.of("checkpoint_size", path=str(fact["path"]), agrees=False, settled=True):
            shown = int(str(size["size"]))
            if parts > 0 and shown % parts == 0:
                yield Candidate(Edit("replace", _path(str(fact["path"])), shown), 12.5, f"{evidence}; {size['tensor']}")
        for place, share in enumerate(shares[:_MAX_SHARES]):
            edit = Edit("add" if path in given else "replace", _path(path), share)
            yield Candidate(edit, 12 - place / 100, evidence, parts if path in given else None)


def _hollow(memory: WorkingMemory) -> Iterator[Candidate]:
    """Numbers for sizes that are less than one, and for null, a word or a truth value in the place of a number.

    The known-good configuration's, and one: from either, the shapes tell the right one.
    """
    for path, known in hollow(memory).items():
        for value, weight in ((known, 21), (1, 20)):
            if value is not None:
                yield Candidate(Edit("replace", _path(path), value), weight)


def _emptied(memory: WorkingMemory) -> Iterator[Candidate]:
    """Numbers for null where only the known-good configuration of the family has one: it may be right as it is."""
    for fact in memory.of("type_disagreement", expected="int", actual="null", declared=False):
        yield Candidate(Edit("replace", _path(str(fact["path"])), 1), 8)


def hollow(memory: WorkingMemory) -> dict[str, int | None]:
    """Paths whose value is no number that a size can be, with what the known-good configuration has, if it has one."""
    found: dict[str, int | None] = {
        str(fact["path"]): None
        for fact in memory.of("type_disagreement", expected="int")
        if fact["actual"] == "boolean"
        or (not fact["convertible"] and fact["actual"] in ("null", "string", "object") and fact["declared"])
    }
    for fact in memory.of("value_difference"):
        path = str(fact["path"])
        try:
            value, known = json.loads(str(fact["value"])), json.loads(str(fact["known"]))
        except ValueError:
            continue
        if type(known) is int and known > 0 and (path in found or (type(value) is int and value <= 0)):
            found[path] = known
    return found


def _quantization(config: Mapping[str, Any], memory: WorkingMemory) -> Iterator[Candidate]:
    """A quantization block as the packed shapes show it."""
    block = memory.one("quantization_block", present=True)
    key = str(block["key"]) if block is not None and block["key"] else "quantization"
    current = config.get(key)
    for fact in memory.of("packed_layer"):
        for pair in str(fact["candidates"]).split(","):
            bits, _, group_size = pair.strip().partition("/")
            if not (bits.isdecimal() and group_size.isdecimal()):
                continue
            wanted: dict[str, Any] = {"group_size": int(group_size), "bits": int(bits)}
            if fact["mode"] not in (None, "affine"):
                wanted["mode"] = fact["mode"]
            evidence = f"{fact['example']}: packed {fact['packed_width']}, scales {fact['scales_width']}"
            weight = 26 + (2 if fact["bits"] == int(bits) else 0) + min(int(str(fact["layers"])), 100) / 100
            if isinstance(current, dict):
                changed = {name: value for name, value in wanted.items() if current.get(name) != value}
                if len(changed) == 1:
                    ((name, value),) = changed.items()
                    operation = "replace" if name in current else "add"
                    yield Candidate(Edit(operation, (key, name), value), weight, evidence)  # type: ignore[arg-type]
                elif changed:
                    yield Candidate(Edit("replace", (key,), {**current, **changed}), weight - 1, evidence)
            else:
                operation = "replace" if key in config else "add"
                yield Candidate(Edit(operation, (key,), wanted), weight, evidence)  # type: ignore[arg-type]


def _numbers(config: Mapping[str, Any], memory: WorkingMemory, run: LoadRun) -> Iterator[Candidate]:
    pairs, evidence = _size_pairs(run)
    counts = [
        (int(str(fact["in_model"])), int(str(fact["in_checkpoint"])), str(fact["stem"]))
        for fact in ([] if lacks_shards(memory) else memory.of("layers_absent"))
    ]
    if not pairs and not counts:
        return
    for path, value, default in numbers(config, memory):
        operation = "replace" if default is None else "add"
        for (wanted, found), weight in pairs:
            for new, factor in _fitting(value, wanted, found):
                yield Candidate(
                    Edit(operation, path, new),  # type: ignore[arg-type]
                    factor * (1 + weight / 1000),
                    evidence[wanted, found],
                    default,
                )
        for in_model, in_checkpoint, stem in counts:
            evident = f"{stem} has {in_checkpoint} layers in the checkpoint, {in_model} in the model"
            for new, likely in _counting(value, in_model, in_checkpoint, "layer" in str(path[-1])):
                yield Candidate(Edit(operation, path, new), likely, evident, default)  # type: ignore[arg-type]


def _counting(value: int, in_model: int, in_checkpoint: int, of_layers: bool) -> Iterator[tuple[int, float]]:
    """Values that ``value`` may want to be when the model has ``in_model`` layers, the checkpoint ``in_checkpoint``."""
    missing = in_checkpoint - in_model
    if value == in_model:
        yield in_checkpoint, 9
    elif value > in_model and value + missing > 0:
        yield value + missing, 2
    if of_layers and value - missing > 0:
        # Layers may be shared out between parts: what one has too many, another has too few.
        yield value - missing, 2


def layer_counts(value: int, run: LoadRun) -> Iterator[tuple[int, str]]:
    """Values that a number may want to be, by the layers that ``run`` met: the value and what shows it."""
    from mlx_diagnose.collectors import weights_difference
    from mlx_diagnose.collectors.tensors import table_from_json

    if run.tensors is None:
        return
    given, model = (table_from_json(run.tensors[name]) for name in ("sanitized", "model"))
    seen = WorkingMemory()
    weights_difference.collect(seen, stored=given, sanitized=given, model=model, strict=True, raised=True)
    for fact in seen.of("layers_absent"):
        in_model, in_checkpoint = int(str(fact["in_model"])), int(str(fact["in_checkpoint"]))
        for new, _ in _counting(value, in_model, in_checkpoint, of_layers=False):
            yield new, f"{fact['stem']} has {in_checkpoint} layers in the checkpoint"


def _fitting(value: int, wanted: int, found: int) -> Iterator[tuple[int, float]]:
    """Values that ``value`` may want to be when a size ``wanted`` by the model is ``found`` in the checkpoint."""
    if value == wanted:
        yield found, 10
        return
    if found * value % wanted == 0:
        yield found * value // wanted, 6 if wanted % value == 0 or value % wanted == 0 else 3
    if value * wanted % found == 0 and value * wanted // found > 1:
        # What is shared out: twice as many heads are half as wide.
        yield value * wanted // found, 3
    if value > _TRIVIAL and value + found - wanted > 0:
        yield value + found - wanted, 2


def numbers(config: Mapping[str, Any], memory: WorkingMemory) -> list[tuple[Path, int, int | None]]:
    """Every positive whole number of the config, and of the defaults that stand in for absent keys:
    path, value, and the default where it is one. True is 1 where a number belongs."""
    taken = {_path(str(fact["path"])) for fact in memory.of("type_disagreement", expected="int", actual="boolean")}
    given: list[tuple[Path, int, int | None]] = [
        (path, int(value), None)
        for path, value in leaves(dict(config))
        if (type(value) is int and value > 0) or (value is True and path in taken)
    ]
    return [*given, *_defaulted_numbers(memory)]


def _defaulted_numbers(memory: WorkingMemory) -> Iterator[tuple[Path, int, int]]:
    for fact in memory.of("absent_key", required=False):
        try:
            default = json.loads(str(fact["default"]))
        except ValueError:
            continue
        if type(default) is int and default > 0:
            yield _path(str(fact["path"])), default, default


def _mirrored(config: Mapping[str, Any], memory: WorkingMemory, run: LoadRun) -> Iterator[Candidate]:
    """For a list of numbers that was left out, another one of its length read backwards.

    What an encoder takes apart, the decoder puts together in the other order
    (``mlx_audio/codec/models/snac/snac.py``: encoder_rates and decoder_rates).
    """
    if run.tensors is None or not run.tensors["counts"]["shape"]:
        return
    lists = {name: value for name, value in config.items() if _counts(value)}
    for fact in memory.of("absent_key", required=False, section=""):
        try:
            default = json.loads(str(fact["default"]))
        except ValueError:
            continue
        for name, value in lists.items() if _counts(default) else ():
            if len(value) == len(default) and value[::-1] != default:
                evidence = f"{name}, {json.dumps(value)}, the other way round"
                yield Candidate(Edit("add", _path(str(fact["path"])), value[::-1]), 4, evidence, default)


def _counts(value: object) -> bool:
    return isinstance(value, list) and len(value) > 1 and all(type(item) is int and item > 0 for item in value)


def _size_pairs(run: LoadRun) -> tuple[list[tuple[tuple[int, int], int]], dict[tuple[int, int], str]]:
    """The sizes that disagree, most frequent first, each with a tensor that shows it."""
    if run.tensors is None:
        return [], {}
    pairs: Counter[tuple[int, int]] = Counter()
    evidence: dict[tuple[int, int], str] = {}
    given = run.tensors["sanitized"]
    for name, (_, shape) in run.tensors["model"].items():
        other = given.get(name)
        if other is None or len(other[1]) != len(shape):
            continue
        for wanted, found in zip(shape, other[1], strict=True):
            if wanted != found and wanted > 0 and found > 0:
                pairs[wanted, found] += 1
                evidence.setdefault((wanted, found), f"{name} is {_text(other[1])}, the model wants {_text(shape)}")
    return pairs.most_common(_MAX_PAIRS), evidence


def _text(shape: Iterable[int]) -> str:
    return "(" + ", ".join(str(size) for size in shape) + ")"


def _switches(config: Mapping[str, Any], memory: WorkingMemory, run: LoadRun) -> Iterator[Candidate]:
    """A switch adds or removes modules: flip each, given or defaulted, when names differ."""
    if lacks_shards(memory):
        return
    if run.tensors is None or not (run.tensors["counts"]["missing"] or run.tensors["counts"]["unexpected"]):
        return
    for path, value in leaves(dict(config)):
        if type(value) is bool:
            yield Candidate(Edit("replace", path, not value), 5)
    for fact in memory.of("absent_key", required=False):
        if fact["default"] in ("true", "false"):
            yield Candidate(
                Edit("add", _path(str(fact["path"])), fact["default"] == "false"), 4, default=fact["default"] == "true"
            )
