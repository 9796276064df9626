"""config.json against the classes that take it: keys too many, keys and sections too few, other names, other types.

Built on two documents: what the family's source shows (``sources.describe_source``) and what the
patient's own classes said (``probes/signature.py``); either alone will do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mlx_diagnose.collectors import checkpoint_sizes, config_names, config_style, config_types, signature_facts
from mlx_diagnose.collectors.config import ConfigDocument, value_at
from mlx_diagnose.collectors.config_edit import Path as KeyPath
from mlx_diagnose.collectors.config_edit import dotted, json_pointer
from mlx_diagnose.collectors.config_sections import Section, sections_of
from mlx_diagnose.collectors.name_similarity import same_words
from mlx_diagnose.collectors.tensors import TensorTable
from mlx_diagnose.collectors.text import clean, json_text
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

_NAME = "config_difference"
_MAX_PARAMETERS = 2_000
_NONE: Any = object()


def collect(
    memory: WorkingMemory,
    config: ConfigDocument,
    signature: Mapping[str, Any] | None = None,
    *,
    mlx_audio_dir: Path | None = None,
    category: str | None = None,
    family: str | None = None,
    search_path: Sequence[str] = (),
    table: TensorTable | None = None,
) -> None:
    """Assert what the classes of a family take and how config.json differs from it.

    ``signature`` is the probe's document, or a finished one of :mod:`sources`, or None. The
    family's source is found through it, or given: ``mlx_audio_dir`` with ``category`` and
    ``family``; ``search_path`` is the patient's ``sys.path``; ``table`` the
    checkpoint's tensors, where they are known. Facts: config_class,
    init_parameter, config_fit, config_wrapped, wrapped_key, left_out_key, unknown_key, absent_key, absent_section,
    restyled_key, key_similarity, type_disagreement, and those of :mod:`signature_facts`.
    """
    document = _document(signature, mlx_audio_dir, category, family, search_path)
    if document is None:
        return
    signature_facts.assert_unreadable(memory, document)
    if config.data is None:
        return
    sections = sections_of(document, config.data)
    _assert_classes(memory, sections)
    signature_facts.assert_facts(memory, config, document, sections)
    shown = checkpoint_sizes.evidence(document, config.data, table) if table else []
    signature_facts.assert_sizes(memory, config.data, shown, sections)
    usual = _usual(document)
    unknown = [key for section in sections for key in section.unknown]
    absent = [key for section in sections for key in section.absent]
    _assert_fit(memory, config, sections, usual)
    _assert_left_out(memory, config, sections, usual)
    _assert_wrapped(memory, config, sections, usual)
    _assert_style(memory, config, config_style.moves(document, config.data))
    for section in sections:
        _assert_unknown(memory, config, section)
        _assert_absent(memory, section, usual)
    config_types.collect(memory, config, sections, usual)
    wanted = [*absent, *(key for section in sections for key in section.defaulted)]
    for pair in config_names.similar(
        unknown, wanted, config.data, lambda path, value: checkpoint_sizes.fits(shown, path, value), usual
    ):
        line, value = config.line_of(pair.given), config.value_at(pair.given)
        memory.add(
            "key_similarity",
            _at(config, pair.given),
            given=clean(pair.given),
            wanted=clean(pair.wanted),
            score=pair.score,
            required=pair.required,
            known_alias=pair.known_alias,
            value_fits=pair.fits,
            best=pair.best,
            value=json_text(value),
            default=clean(pair.default, 500) if pair.default else None,
            beside_default=config_names.beside(value, pair.default, same_words=same_words(pair.given, pair.wanted)),
            usual=pair.usual,
            given_line=line,
        )


def collect_types(
    memory: WorkingMemory,
    config: ConfigDocument,
    mlx_audio_dir: Path,
    category: str,
    family: str,
    usual: Mapping[str, Any],
) -> None:
    """Assert type_disagreement alone: what is told of a model that loads."""
    document = _document(None, mlx_audio_dir, category, family, ())
    if document is not None and config.data is not None:
        config_types.collect(memory, config, sections_of(document, config.data), usual)


def _document(
    signature: Mapping[str, Any] | None,
    mlx_audio_dir: Path | None,
    category: str | None,
    family: str | None,
    search_path: Sequence[str],
) -> Mapping[str, Any] | None:
    if signature is not None and "reads" in signature:
        return signature  # a finished document
    from mlx_diagnose.collectors.sources import describe_source, merged

    if mlx_audio_dir is None and signature is not None:
        mlx_audio_dir, category, family = _located(signature)
    if mlx_audio_dir is None or category is None or family is None:
        return None
    return merged(describe_source(mlx_audio_dir, category, family, search_path), signature)


def _located(signature: Mapping[str, Any]) -> tuple[Path | None, str | None, str | None]:
    """Folder of mlx_audio, category and family, from the probe's document: its module and that module's file."""
    parts = str(signature.get("module") or "").split(".")
    file = signature.get("file")
    if len(parts) < 4 or parts[0] != "mlx_audio" or not file:
        return None, None, None
    folder = next((parent for parent in Path(str(file)).parents if parent.name == "mlx_audio"), None)
    return folder, parts[1], parts[3]


def _at(config: ConfigDocument, path: str) -> Provenance:
    return Provenance(_NAME, file=str(config.file), line=config.line_of(path), path=clean(path))


def _assert_classes(memory: WorkingMemory, sections: Sequence[Section]) -> None:
    count = 0
    for section in sections:
        for taker in section.takers:
            at = Provenance("signature", file=taker.file, line=taker.line)
            memory.add(
                "config_class",
                at,
                class_name=taker.class_name,
                section=section.path,
                unknown_keys=taker.unknown_keys,
                file=taker.file,
                line=taker.line,
            )
            for key in taker.keys:
                count += 1
                if count > _MAX_PARAMETERS:
                    return
                memory.add(
                    "init_parameter",
                    at,
                    class_name=taker.class_name,
                    section=section.path,
                    name=key.name,
                    path=key.path,
                    required=key.required,
                    type=clean(key.type, 200) if key.type else None,
                    default=clean(key.default, 500) if key.default else None,
                )


def _assert_unknown(memory: WorkingMemory, config: ConfigDocument, section: Section) -> None:
    for key in section.unknown:
        memory.add(
            "unknown_key",
            _at(config, key.path),
            path=clean(key.path),
            section=clean(section.path),
            name=clean(key.name),
            class_name=key.class_name,
            effect=section.effect,
            housekeeping=config_names.is_housekeeping(key.name),
            line=config.line_of(key.path),
        )


def _assert_fit(
    memory: WorkingMemory, config: ConfigDocument, sections: Sequence[Section], usual: Mapping[str, Any]
) -> None:
    top = next((section for section in sections if not section.path and section.takers), None)
    if top is None or any(taker.unknown_keys == "accepted" for taker in top.takers):
        return
    given = {name for name in top.values if not config_names.is_housekeeping(name)}
    known = given - {key.name for key in top.unknown}
    lacking = {key.path for section in sections for key in section.absent if key.required}
    if given:
        memory.add(
            "config_fit",
            Provenance(_NAME, file=str(config.file)),
            given=len(given),
            known=len(known),
            share=round(len(known) / len(given), 4),
            usual_share=round(len(given.intersection(usual)) / len(given), 4) if usual else None,
            lacking=len(lacking | {section.path for section in sections if section.missing and section.required}),
        )


#: Keys of the family that a wrapper holds at least, and how many times as many as stand where they belong.
_WRAPPED, _TIMES = 3, 3


def _assert_wrapped(
    memory: WorkingMemory, config: ConfigDocument, sections: Sequence[Section], usual: Mapping[str, Any]
) -> None:
    """Assert config_wrapped for a key that no class takes and that holds what belongs at the top."""
    taken = {key.name for section in sections if not section.path for taker in section.takers for key in taker.keys}
    wanted = {name for name in taken.union(usual) if not config_names.is_housekeeping(name)}
    outside = wanted.intersection(config.data or ())
    for name, value in (config.data or {}).items():
        inside = wanted.intersection(value) if isinstance(value, dict) and name not in wanted else set()
        if len(inside) >= max(_WRAPPED, _TIMES * len(outside)) and 2 * len(inside) >= len(value):
            memory.add(
                "config_wrapped",
                _at(config, name),
                section=clean(name),
                known=len(inside),
                given=len(value),
                outside=len(outside),
            )
            for key in value:
                if key not in (config.data or ()) and key == clean(key):
                    memory.add(
                        "wrapped_key",
                        _at(config, name),
                        section=clean(name),
                        source=json_pointer((name, key)),
                        target=json_pointer((key,)),
                    )


def _assert_style(memory: WorkingMemory, config: ConfigDocument, moves: list[tuple[KeyPath, KeyPath]]) -> None:
    for number, (source, target) in enumerate(moves):
        given = dotted(config_style.original(source, moves[:number]))
        memory.add(
            "restyled_key",
            _at(config, given),
            given=clean(given),
            wanted=clean(dotted(target)),
            source=json_pointer(source),
            target=json_pointer(target),
            count=len(moves),
        )


#: Of the keys that matter, the part that a config gives at most if it is told to leave them to defaults.
_HOLLOW = 0.34
_FEW, _MOST_LEFT_OUT = 3, 40


def _assert_left_out(
    memory: WorkingMemory, config: ConfigDocument, sections: Sequence[Section], usual: Mapping[str, Any]
) -> None:
    """Assert left_out_key where most of what a model is made with is left to defaults.

    What matters are the numbers and sections of the known-good configuration, where there is one, else all that
    the classes take.
    """
    data = {name for name in config.data or () if not config_names.is_housekeeping(name)}
    if usual:
        matter = [name for name, value in usual.items() if _sizes(value) and not config_names.is_housekeeping(name)]
        given, sized = data.intersection(matter), [name for name in matter if name not in data]
        inside = {name for name in sized if isinstance(usual[name], Mapping)}
    else:
        absent = [key for section in sections if not section.path for key in section.absent]
        given = data
        sized = [key.path for key in absent if key.is_section or _is_number(key.default)]
        inside = {key.path for key in absent if key.is_section}
    if len(sized) < _FEW or len(given) > _HOLLOW * (len(given) + len(sized)):
        return
    for path in sized[:_MOST_LEFT_OUT]:
        memory.add(
            "left_out_key",
            Provenance(_NAME, file=str(config.file), path=path),
            path=clean(path),
            section=path in inside,
            given=len(given),
            left_out=len(sized),
        )


def _sizes(value: object) -> bool:
    return isinstance(value, int | float | list | Mapping) and not isinstance(value, bool)


def _is_number(text: str | None) -> bool:
    try:
        return text is not None and float(text) >= 0
    except ValueError:
        return False


def _usual(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The known-good configuration of the family."""
    from mlx_diagnose.knowledge_base.configurations import known_config

    parts = str(document.get("module") or "").split(".")
    return (known_config(parts[3], parts[1]) or {}) if len(parts) >= 4 else {}


def _assert_absent(memory: WorkingMemory, section: Section, usual: Mapping[str, Any]) -> None:
    for key in section.absent:
        at = Provenance(_NAME, file=key.file, line=key.line, path=key.path)
        memory.add(
            "absent_key",
            at,
            path=key.path,
            section=section.path,
            name=key.name,
            class_name=key.class_name,
            required=key.required,
            default=clean(key.default, 500) if key.default else None,
            is_section=key.is_section,
            known=_known(usual, key.path),
        )
    if section.missing:
        memory.add(
            "absent_section",
            Provenance(_NAME, file=section.takers[0].file if section.takers else None, path=section.path),
            path=section.path,
            class_name=section.takers[0].class_name if section.takers else None,
            required=section.required,
            flattened=section.found_at is not None,
            found_at=section.found_at,
            moved_from=section.moved_from,
            usual=isinstance(value_at(usual, section.path, None), Mapping),
        )


def _known(usual: Mapping[str, Any], path: str) -> str | None:
    value = value_at(usual, path, _NONE)
    return None if value is _NONE else clean(json_text(value) or "", 500) or None
