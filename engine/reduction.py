"""``diagnose reduce``: the smallest config that fails as a model does, and the largest that does not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlx_diagnose.adapters.config_patch import patch_between
from mlx_diagnose.collectors import minimal
from mlx_diagnose.collectors import target as target_collector
from mlx_diagnose.collectors.builds import Builds
from mlx_diagnose.collectors.config_edit import dotted
from mlx_diagnose.collectors.ddmin import ddmin
from mlx_diagnose.collectors.interpreter import choose
from mlx_diagnose.collectors.symptom import Symptom
from mlx_diagnose.collectors.target import Located
from mlx_diagnose.engine import passing
from mlx_diagnose.engine.attempts import Attempts
from mlx_diagnose.engine.config_reduction import count, neutralise, reduce_config
from mlx_diagnose.engine.examination import Examination, Ledger
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import DiagnoseError, ExitCode, Fact, stage_index
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.patients import not_python

#: Part of the time that reducing may take; the rest is for what is shown beside.
_SHARE = 0.6
#: Seconds for minimal builds.
_BUILD_SECONDS = 30.0
#: Bytes of a text that is no config that are looked through for what makes it none.
_MAX_TEXT = 1 << 19
#: The simplest texts that are no config.
_SIMPLEST = (b"", b"[]", b"null", b"0", b"{")
#: Bytes of parameters that are evaluated, one after the other.
_EVALUATED = 4 << 30
#: Kinds of facts that tell of minimal builds.
BUILT = ("minimal_build", "component_build", "section_build", "culprit", "component_disagreement")


@dataclass(frozen=True)
class Reduction:
    """What came of it.

    ``symptom`` None: the model loads. ``why_not`` says why nothing was reduced, or not to the end.
    ``reduced`` is the smallest failing config; None where config.json is no config: then ``raw`` is
    what is left of its text, or it is not there (``without_config``). ``neutral`` are dotted paths whose
    values do not matter, ``files`` the other files that the failure needs, ``values`` counts what the
    config had. ``passing`` is the largest config that does not fail so, ``difference`` the patch that
    leads to it, ``passing_stage`` where it fails instead (None: it loads).
    """

    located: Located
    category: str
    versions: Mapping[str, str]
    symptom: Symptom | None
    why_not: str | None = None
    values: int = 0
    reduced: dict[str, Any] | None = None
    raw: bytes | None = None
    without_config: bool = False
    neutral: Sequence[str] = ()
    files: Sequence[str] = ()
    passing: dict[str, Any] | None = None
    passing_stage: str | None = None
    difference: Sequence[Mapping[str, Any]] = ()
    facts: Sequence[Fact] = ()
    attempts: int = 0
    seconds: float = 0.0
    loader: tuple[str, str] = ("mlx_audio.tts.utils", "load_model")
    offline: bool = True


class NotReducible(DiagnoseError):
    """There is nothing on this machine that could be loaded and changed."""

    exit_code = ExitCode.INCONCLUSIVE


def reduce(attempts: Attempts, progress: Callable[[str], None]) -> Reduction:
    """Reduce the model that ``attempts`` has loaded."""
    return _Reducer(attempts, progress).reduce()


def begin(options: Options) -> Attempts:
    """The patient with the model loaded once.

    Raises UsageError for what is no model or no Python, NotReducible for what is not on this machine.
    """
    from mlx_diagnose.engine.pipeline import locate

    located = locate(options)
    if located.directory is None:
        raise NotReducible(
            "not-here",
            f"{options.model} is not on this machine, so there is nothing to reduce.",
            why="A reduction loads changed copies of a model's files.",
            next_step=f"Look at the model itself first: diagnose {options.model}",
        )
    interpreter = choose(options.python)
    attempts = Attempts(options, interpreter, located, time.monotonic() + options.timeout * _SHARE)
    ending = attempts.process.ending
    if ending is not None and ending.outcome == "not-python":
        attempts.close()
        raise not_python(interpreter, ending.detail or "")
    return attempts


class _Reducer:
    def __init__(self, attempts: Attempts, progress: Callable[[str], None]) -> None:
        located = attempts.located
        assert located.directory is not None
        self._attempts, self._located, self._progress = attempts, located, progress
        self._directory = located.directory
        self._started = time.monotonic()
        self._examination = Examination(located, located.directory, WorkingMemory(), Ledger())
        self._fields: dict[str, Any] = {}

    def reduce(self) -> Reduction:
        attempts, run = self._attempts, self._attempts.run
        examination = self._examination
        target_collector.assert_facts(examination.memory, self._located, run.category)
        examination.look_at_files(run.version)
        examination.look_at_run(run)
        symptom = attempts.symptom
        try:
            if symptom is None:
                self._builds()
            else:
                self._fields |= self._reduced(symptom)
        except TimeoutError:
            self._fields["why_not"] = "there was no time to go on"
        loader = run.loader or {}
        return Reduction(
            located=self._located,
            category=run.category,
            versions=dict(examination.packages),
            symptom=symptom,
            facts=[fact for fact in examination.memory if fact.kind in BUILT],
            attempts=attempts.count,
            seconds=round(time.monotonic() - self._started, 3),
            loader=(
                str(loader.get("module") or f"mlx_audio.{run.category}.utils"),
                str(loader.get("function") or "load_model"),
            ),
            offline=attempts.options.offline is not False,
            **self._fields,
        )

    def _reduced(self, symptom: Symptom) -> dict[str, Any]:
        attempts, config = self._attempts, self._examination.config
        if attempts.run.loader is None and attempts.run.outcome is not None:
            # The loader itself was not imported: no model has to do with it.
            return {"reduced": {}, "values": count(config or {})}
        if symptom.message == "timed-out":
            return {"why_not": "it does not end: every attempt would take as long"}
        again = attempts.contents({})
        if again != symptom:
            how = "loads" if again is None else f"fails otherwise ({again.type} at {again.stage})"
            return {"why_not": f"a copy of the model {how}: the failure depends on where it lies, or is not steady"}
        if config is None:
            return self._reduced_text(symptom)
        self._fields |= {"values": count(config), "reduced": config}

        def same(changed: dict[str, Any]) -> bool:
            if attempts.config(changed) != symptom:
                return False
            self._fields["reduced"] = changed  # what there is when the time is up
            return True

        self._progress("looking for the smallest config that fails in the same way")
        reduced = reduce_config(config, same)
        wanted = symptom.loosely()
        reduced, neutral = neutralise(reduced, lambda changed: loosely(attempts.config(changed)) == wanted)
        self._fields |= {"reduced": reduced, "neutral": [dotted(path) for path in neutral]}
        self._progress("looking for the files that the failure needs")
        self._fields["files"] = self._needed({"config.json": _bytes(reduced)}, wanted)
        self._progress("looking for the largest config that passes")
        self._passing(config, symptom)
        self._builds()
        return {}

    def _reduced_text(self, symptom: Symptom) -> dict[str, Any]:
        """config.json that is no object of JSON: its lines, then its characters, as far as it is text."""
        path = self._directory / "config.json"
        try:
            raw = path.read_bytes()
        except OSError:
            return {"without_config": True, "files": self._needed({}, symptom.loosely())}
        wanted = symptom.loosely()

        def same(parts: Sequence[bytes]) -> bool:
            text = b"".join(parts)
            if loosely(self._attempts.contents({"config.json": text})) != wanted:
                return False
            self._fields["raw"] = text
            return True

        if any(same([text]) for text in _SIMPLEST if len(text) < len(raw)):
            pass
        elif same([raw]) and len(raw) <= _MAX_TEXT:
            lines: list[bytes] = raw.splitlines(keepends=True)
            kept: list[bytes] = ddmin(lines, same)
            text = b"".join(kept)
            characters: list[bytes] = [text[at : at + 1] for at in range(len(text))]
            ddmin(characters, same)
        return {"files": self._needed({"config.json": self._fields["raw"]}, wanted)}

    def _needed(self, contents: Mapping[str, bytes], wanted: Symptom) -> list[str]:
        """Entries of the model's directory, beside config.json, without which it fails otherwise."""
        names = sorted(entry.name for entry in self._directory.iterdir() if entry.name != "config.json")
        attempts = self._attempts
        return ddmin(names, lambda kept: loosely(attempts.contents(contents, kept)) == wanted)

    def _passing(self, config: Mapping[str, Any], symptom: Symptom) -> None:
        best = passing.largest(config, self._fields["reduced"], symptom, self._attempts, self._examination)
        if best is not None:
            found, stage = best
            self._fields |= {"passing": found, "passing_stage": stage, "difference": patch_between(config, found)}

    def _builds(self) -> None:
        """Minimal builds, told as facts; not where the failure comes before there is anything to build."""
        attempts, config, symptom = self._attempts, self._examination.config, self._attempts.symptom
        if config is None or attempts.process.ending is not None:
            return
        if symptom is not None and stage_index(symptom.stage) < stage_index("construct"):
            return
        self._progress("building the model part by part")
        builds = Builds(attempts.process, attempts.overlays, attempts.run, time.monotonic() + _BUILD_SECONDS)
        memory = self._examination.memory
        self._examination.ledger.run(
            "minimal", lambda: minimal.collect(memory, config, attempts.run, builds, limit=_EVALUATED)
        )


def loosely(symptom: Symptom | None) -> Symptom | None:
    return symptom.loosely() if symptom is not None else None


def _bytes(config: Mapping[str, Any]) -> bytes:
    return json.dumps(config, indent=2).encode()
