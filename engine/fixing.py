"""``--fix``: the verified fixes of a report written, and the result loaded once more."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from pathlib import Path

from mlx_diagnose.adapters.config_text import patch_text
from mlx_diagnose.adapters.mend import Mend
from mlx_diagnose.adapters.model_copy import CopiedFile
from mlx_diagnose.adapters.model_directory import WrittenDirectory, check_target, write_directory, write_texts
from mlx_diagnose.adapters.preview import preview
from mlx_diagnose.adapters.registry import Entry, to_text
from mlx_diagnose.adapters.safetensors_file import UnwritableError
from mlx_diagnose.adapters.source_patch import SourcePatch
from mlx_diagnose.adapters.undo import UNDO, undo_record
from mlx_diagnose.collectors import target as target_collector
from mlx_diagnose.collectors.adapter_run import failure_of
from mlx_diagnose.collectors.interpreter import choose
from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.target import Located, is_loadable
from mlx_diagnose.engine import registering, remote_adapters
from mlx_diagnose.engine.adapter_files import AdapterFiles, adapter_files, adapter_for
from mlx_diagnose.engine.model import Fix, Report, Written, WrittenFile
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.source_fixes import patches_for, seen_of

#: Folder of mended copies. A copy keeps its original's name, which steers mlx-audio's resolution.
FOLDER = "diagnose-fixed"
#: The entry of the registry, beside the undo record.
ENTRY = "registry-entry.json"
_BAR = 20
#: The verdicts on a model that loads.
_LOADING = ("loads", "loads-with-warnings")


def check_out(options: Options, out: Path) -> None:
    """Raise UsageError where ``out`` cannot become a mended copy: better now than after the diagnosis."""
    check_target(out.absolute(), target_collector.locate(options.model, options.revision).directory)


def write_fixes(
    report: Report, options: Options, out: Path | None, progress: Callable[[str], None] = lambda _: None
) -> tuple[Report, UnwritableError | None]:
    """``report`` with its verified fixes written to ``out``, or to a place beside the model; and why not, if not.

    A mended copy where files of the model change, else an adapter alone. Nothing is written where
    nothing is broken or nothing is verified: ``report.written`` says so.
    """
    order = _Order.of(report, options, out, progress)
    if order.nothing is not None:
        return replace(report, written=order.nothing), None
    try:
        made = order.carry_out()
    except UnwritableError as error:
        reason = " ".join(part for part in (error.what, error.why) if part)
        return replace(report, written=order.written(None, reason)), error
    return replace(report, written=order.written(made)), None


def show_fixes(
    report: Report, options: Options, out: Path | None, progress: Callable[[str], None] = lambda _: None
) -> Report:
    """``report`` with what :func:`write_fixes` would write, as text; nothing is written."""
    order = _Order.of(report, options, out, progress)
    if order.nothing is not None:
        return replace(report, written=order.nothing)
    try:
        diff = order.shown()
    except UnwritableError as error:
        return replace(report, written=order.written(None, f"{error.what} {error.why}"))
    return replace(report, written=replace(order.written(None, "only shown, as asked"), diff=diff))


@dataclass
class _Order:
    """What is to be written of a report, and where."""

    report: Report
    options: Options
    located: Located
    fixes: list[Fix]
    mend: Mend
    out: Path | None
    progress: Callable[[str], None]
    note: str | None = None
    entry: Entry | None = None
    registered: Path | None = None

    @classmethod
    def of(cls, report: Report, options: Options, out: Path | None, progress: Callable[[str], None]) -> _Order:
        fixes = chosen(report)
        mend = mend_of(fixes)
        # One of the variables may say where the hub cache is.
        located = target_collector.locate(options.model, options.revision, {**os.environ, **mend.environment})
        return cls(report, options, located, fixes, mend, out, progress)

    @property
    def nothing(self) -> Written | None:
        """Why there is nothing to write, if so."""
        if self.report.verdict in _LOADING and (self.located.directory is None or self.mend.empty):
            return Written(None, True, "the model loads; there is nothing to mend")
        if self.located.directory is None or (self.mend.empty and not self.patches):
            return self.written(None, _not_written(self.report, self.fixes))
        return None

    @property
    def remote(self) -> bool:
        """The weights are on the hub only: what changes files of the model changes them while it is loaded."""
        return self.located.source == "hub" and not is_loadable(self.located.directory) and not self.mend.copies

    @cached_property
    def target(self) -> Path:
        return self.out.absolute() if self.out is not None else default_target(self.located)

    @cached_property
    def adapters(self) -> AdapterFiles:
        return adapter_files(adapter_for(self.report, self.located, self.mend, self.fixes), self.report, self.located)

    @cached_property
    def patches(self) -> list[SourcePatch]:
        """Patches of mlx-audio with which the model loads as it is."""

        def loads(packages: Path) -> bool:
            return _load(self.report, self.options, self.located, packages).loads

        return patches_for(self.report, choose(self.options.python).executable, loads, self.progress)

    @property
    def patch_texts(self) -> dict[str, str]:
        seen = seen_of(self.report)
        return {name: text for patch in self.patches for name, text in patch.texts(seen).items()}

    def written(self, made: WrittenDirectory | None, reason: str | None = None) -> Written:
        """The record of what was made."""
        files = tuple(WrittenFile(file.file, file.how, file.why, file.size) for file in made.files) if made else ()
        names = tuple(fix.id for fix in self.fixes)
        commands = tuple(dict.fromkeys(fix.command for fix in self.fixes or _packages(self.report) if fix.command))
        path = str(made.path) if made else None
        registered = str(self.registered) if self.registered else None
        return Written(path, made is not None, reason or self.note, names, files, commands, registry=registered)

    def carry_out(self) -> WrittenDirectory:
        """Write it. Raises UnwritableError where it cannot be written or does not load."""
        if self.remote:
            return self._remote_adapter()
        if self.mend.changes_files:
            return self._mended_copy()
        if self.mend.empty:
            self.note = "it loads with the patch of mlx-audio applied, which is for you to apply"
            return write_texts(self.target, self.patch_texts)
        failure = self._adapter_failure()
        if failure is not None:
            raise UnwritableError("adapter-fails", "The adapter does not load the model.", why=f"Reason: {failure}.")
        return write_texts(self.target, {**self.adapters.texts, **self.patch_texts})

    def _remote_adapter(self) -> WrittenDirectory:
        """An adapter that downloads the model when it is used, and config.json as it should be, to publish."""
        self.progress("trying the adapter on the headers of the weights")
        failure = remote_adapters.failure_of(self.options, self.located, self.adapters.python, self.progress)
        if failure is not None:
            raise UnwritableError(
                "adapter-not-proven",
                "The weights are not on this machine, and the adapter was not seen to load them from their headers.",
                why=f"Reason: {failure}.",
                next_step=f"hf download {self.located.model}, then ask for the fix again.",
            )
        self.note = (
            "its weights are not on this machine: seen to load from their headers, whose values were not read; "
            "the adapter downloads them when it is used"
        )
        return write_texts(self.target, {**self.adapters.texts, **self._patched_config})

    @property
    def _patched_config(self) -> dict[str, str]:
        assert self.located.directory is not None
        if not self.mend.config_patch:
            return {}
        text = (self.located.directory / "config.json").read_text(encoding="utf-8")
        return {"config.json": patch_text(text, self.mend.config_patch)}

    def _mended_copy(self) -> WrittenDirectory:
        original = self.located.directory
        assert original is not None

        def accept(staged: Path, files: Sequence[CopiedFile]) -> dict[str, str]:
            self.progress("loading what was written")
            _must_load(self.report, self.options, self.located, staged, self.mend)
            names = tuple(fix.id for fix in self.fixes)
            self.entry = replace(registering.entry_of(self.report, staged, self.mend), directory=str(self.target))
            texts = {
                UNDO: undo_record(original, staged, self.target, self.mend, names, files),
                ENTRY: to_text(self.entry),
                **self.patch_texts,
            }
            if self.mend.copies:
                self.note = "there is no adapter: the model needs files that only the mended copy has"
                return texts
            failure = self._adapter_failure()
            if failure is None:
                return {**texts, **self.adapters.texts}
            self.note = f"the adapter was left out, as it does not load the model: {failure}"
            return texts

        made = write_directory(original, self.target, self.mend, accept, lambda *args: self.progress(_bar(*args)))
        self.registered = registering.keep(self.entry) if self.entry is not None else None
        return made

    def shown(self) -> str:
        """All that would be written, as text."""
        assert self.located.directory is not None
        parts = []
        if self.mend.changes_files and not self.remote:
            parts.append(preview(self.located.directory, self.mend, self.target))
        texts = {**({} if self.mend.empty or self.mend.copies else self.adapters.texts), **self.patch_texts}
        if self.remote:
            texts |= self._patched_config
        parts += [f"{name}:\n\n{text}" for name, text in texts.items()]
        return "\n".join(parts)

    def _adapter_failure(self) -> str | None:
        self.progress("trying the adapter")
        return failure_of(choose(self.options.python).executable, self.adapters.python, self.options.timeout)


def chosen(report: Report) -> list[Fix]:
    """The fixes to make, in their order: those that were found to make the model load, if they are all verified,
    else the first verified one of each root cause; of a model that loads, those of what it is warned of."""
    severity = "warning" if report.verdict in _LOADING else "error"
    by_id = {fix.id: fix for finding in report.findings for fix in finding.fixes if fix.applicability == "verified"}
    if report.mends and all(name in by_id for name in report.mends):
        return [by_id[name] for name in report.mends]
    found: dict[str, Fix] = {}
    for finding in report.findings:
        if not finding.root or finding.severity != severity:
            continue
        fix = next((fix for fix in finding.fixes if fix.applicability == "verified"), None)
        same = (other for other in found.values() if fix and _change(other) == _change(fix))
        if fix is not None and next(same, None) is None:
            found[fix.id] = fix
    return sorted(found.values(), key=lambda fix: int(re.sub(r"\D", "", fix.id) or 0))


def mend_of(fixes: Sequence[Fix]) -> Mend:
    """All that ``fixes`` change, in their order."""
    return Mend(
        config_patch=tuple(chain.from_iterable(fix.config_patch for fix in fixes)),
        weight_map=tuple(chain.from_iterable(fix.weight_map for fix in fixes)),
        shims=tuple(dict.fromkeys(fix.shim for fix in fixes if fix.shim)),
        environment={name: value for fix in fixes for name, value in fix.environment.items()},
        copies={name: path for fix in fixes for name, path in fix.copies.items()},
    )


def default_target(located: Located) -> Path:
    """A place for a mended copy: beside the model, or here for one in the hub's cache, which is not ours to fill."""
    assert located.directory is not None
    parent = located.directory.parent
    name = located.name
    if located.source == "hub" or parent.name == "snapshots":
        if parent.name == "snapshots":
            name = parent.parent.name.split("--")[-1]
        parent = Path.cwd()
    if parent.name == "hub":
        # mlx-audio takes the name that follows a folder "hub" for that of the repository.
        parent = parent.parent
    number = 1
    while True:
        target = parent / (FOLDER if number == 1 else f"{FOLDER}-{number}") / name
        if not target.exists() and not target.is_symlink():
            return target
        number += 1


def _change(fix: Fix) -> tuple[object, ...]:
    return (
        fix.config_patch,
        fix.weight_map,
        fix.shim,
        fix.command,
        tuple(sorted({**fix.environment, **fix.copies}.items())),
    )


def _packages(report: Report) -> list[Fix]:
    """The first installation that each root cause suggests: for the user to run, where nothing was verified."""
    roots = [finding for finding in report.findings if finding.root and finding.severity == "error"]
    found = (next((fix for fix in finding.fixes if fix.kind == "package"), None) for finding in roots)
    return [fix for fix in found if fix is not None]


def _not_written(report: Report, fixes: Sequence[Fix]) -> str:
    if fixes:
        return "what was verified changes no file of the model"
    tried = any(fix.applicability == "unverified" for finding in report.findings for fix in finding.fixes)
    if tried:
        return "no fix is verified; the report says of each why not"
    return "there is no fix that could be tried"


def _must_load(report: Report, options: Options, located: Located, staged: Path, mend: Mend) -> None:
    """Load the finished copy in a fresh process. Raises UnwritableError where it does not load."""
    copy = replace(located, load=str(staged), directory=staged, name=staged.name, source="directory")
    run = _load(report, options, copy, mend=mend)
    if not run.loads:
        said = run.chain[0] if run.chain else None
        told = f"{said['type']}: {said['message']}" if said else "the process ended"
        raise UnwritableError(
            "mended-copy-fails",
            "The mended copy does not load.",
            why=f"At {run.failed_stage}: {told}. It was removed again.",
            next_step="Diagnose with -v; if the fix was called verified, please report it."
            if staged.name == located.name
            else f"mlx-audio takes model types from names of directories: give --out one that ends in {located.name}.",
        )


def _load(
    report: Report, options: Options, located: Located, packages: Path | None = None, mend: Mend | None = None
) -> LoadRun:
    """One load by the patient's own loader, in a fresh process."""
    from mlx_diagnose.engine.patients import start

    mend = mend or Mend()
    shims = mend.shims
    if any(finding.failure_class == "dependency/backend" for finding in report.findings):
        shims = ("metal-kernels", *shims)
    options = replace(options, category=report.target.category if options.category is None else options.category)
    with start(
        options, choose(options.python), located, shims, packages=packages, variables=mend.environment
    ) as process:
        return LoadRun().take(process.messages())


def _bar(name: str, done: int, total: int) -> str:
    share = done / total if total else 1.0
    full = round(share * _BAR)
    return f"writing {name} [{'#' * full}{'.' * (_BAR - full)}] {share:.0%}"
