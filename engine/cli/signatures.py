"""``diagnose signatures``: what every family of an installed release takes, and what changed between releases."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mlx_diagnose.collectors.probes.installed import CATEGORIES
from mlx_diagnose.engine.cli._asking import color_option, screen, show
from mlx_diagnose.engine.cli._output import StatusLine, write
from mlx_diagnose.engine.model import UsageError
from mlx_diagnose.engine.report.view import ColorChoice, View

if TYPE_CHECKING:
    from mlx_diagnose.collectors.interpreter import Interpreter
    from mlx_diagnose.collectors.release_signatures import Release
    from mlx_diagnose.collectors.signature_changes import Change

Documents = dict[tuple[str, str], dict[str, Any]]


@click.command()
@click.argument("family", nargs=-1)
@click.option("--python", metavar="PY", help="Interpreter to examine; else the activated environment's, else ours.")
@click.option("--category", type=click.Choice(CATEGORIES), help="Families of this category only.")
@click.option("--diff", "other", metavar="OTHER", help="What changed since OTHER, instead of the signatures.")
@click.option("--json", "as_json", is_flag=True, help="All of it as one JSON document.")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="DIR", help="Write one JSON file a family.")
@color_option
def signatures(
    family: tuple[str, ...],
    python: str | None,
    category: str | None,
    other: str | None,
    as_json: bool,
    output: Path | None,
    color: ColorChoice,
) -> None:
    """Show what the families of the installed mlx-audio take, read from its source.

    FAMILY is a family (kokoro) or category and family (tts/kokoro); all of them by default.
    OTHER is an interpreter, an environment, a folder that holds mlx_audio, or a folder that -o wrote.
    Nothing of mlx-audio is run.
    """
    view = screen(color)
    with StatusLine() as progress:
        release = _installed(python)
        documents = _described(release, family, category, progress)
        before = _others(other, release, family, category, progress) if other is not None else None
    if before is not None:
        _show_changes(before, documents, as_json, output, view)
    elif output is not None:
        _write_files(documents, output)
    elif as_json:
        write(_json({"mlx_audio": release.version, "families": list(documents.values())}), None)
    else:
        show(_lines(documents, bool(family), view))


def _installed(python: str | None) -> Release:
    from mlx_diagnose.collectors.interpreter import choose

    return _of_interpreter(choose(python))


def _of_interpreter(interpreter: Interpreter) -> Release:
    from mlx_diagnose.collectors import static_patient
    from mlx_diagnose.collectors.release_signatures import Release
    from mlx_diagnose.engine.patients import greeting

    hello = greeting(interpreter)
    folder = static_patient.mlx_audio(hello, None, None, "")["directory"]
    if folder is None:
        raise UsageError(
            "no-mlx-audio",
            f"{interpreter.executable} has no mlx-audio.",
            why="Neither its site-packages nor PYTHONPATH hold a package mlx_audio.",
            next_step="Give the interpreter of the environment that has it with --python.",
        )
    return Release(Path(folder), tuple(hello["path"]))


def _described(release: Release, asked: tuple[str, ...], category: str | None, progress: StatusLine) -> Documents:
    """The documents of the families asked for. Raises UsageError for one that the release does not have."""
    there = [key for key in release.families() if category in (None, key[0])]
    wanted = [key for key in there if not asked or key[1] in asked or "/".join(key) in asked]
    for name in asked:
        if not any(name in (key[1], "/".join(key)) for key in there):
            raise _no_family(name, there, release)
    found: Documents = {}
    for key in wanted:
        progress(f"reading {'/'.join(key)}")
        found[key] = release.describe(*key)
    return found


def _no_family(name: str, there: list[tuple[str, str]], release: Release) -> UsageError:
    from mlx_diagnose.engine.rulebase.problems import did_you_mean

    return UsageError(
        "no-such-family",
        f"mlx-audio {release.version or ''} has no family {name!r}.",
        why=f"It was looked for in {release.folder}.",
        next_step=did_you_mean(name, [text for key in there for text in (key[1], "/".join(key))])
        or "`diagnose signatures` names the families.",
    )


def _others(
    other: str, release: Release, asked: tuple[str, ...], category: str | None, progress: StatusLine
) -> Documents:
    """The documents to compare with; families that are not there are a difference, not an error."""
    from mlx_diagnose.collectors.interpreter import choose
    from mlx_diagnose.collectors.release_signatures import Release, read_documents, release_in

    path = Path(os.path.expanduser(other))
    if path.is_dir():
        folder = release_in(path)
        if folder is None and not (path / "bin" / "python").exists():
            found = {(d["category"], d["family"]): d for d in read_documents(path)}
            if found:
                return {key: d for key, d in found.items() if _wanted(key, asked, category)}
            raise UsageError(
                "nothing-to-compare",
                f"{other} holds nothing to compare with.",
                why="It has no mlx_audio package, no JSON files of `diagnose signatures -o`, and no bin/python.",
                next_step="Give an interpreter, an environment, or one of these folders.",
            )
        if folder is not None:
            before = Release(folder, (str(folder.parent), *release.search_path))
            keys = [key for key in before.families() if _wanted(key, asked, category)]
            return {key: _progressing(before, key, progress) for key in keys}
    before = _of_interpreter(choose(other))
    return {key: _progressing(before, key, progress) for key in before.families() if _wanted(key, asked, category)}


def _progressing(release: Release, key: tuple[str, str], progress: StatusLine) -> dict[str, Any]:
    progress(f"reading {'/'.join(key)} of {release.version or release.folder}")
    return release.describe(*key)


def _wanted(key: tuple[str, str], asked: tuple[str, ...], category: str | None) -> bool:
    return category in (None, key[0]) and (not asked or key[1] in asked or "/".join(key) in asked)


def _json(document: Any) -> str:
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _write_files(documents: Documents, folder: Path) -> None:
    for (category, family), document in documents.items():
        target = folder / category / f"{family}.json"
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(
                "cannot-write",
                f"{target.parent} cannot be made.",
                why=f"Reason: {error.strerror or error}.",
                next_step="Give -o a directory that you may write to.",
            ) from None
        write(_json(document), str(target))
    click.echo(f"diagnose: {len(documents)} families are written to {folder}", err=True)


# -- text ------------------------------------------------------------------------------------


def _lines(documents: Documents, in_full: bool, view: View) -> Iterator[str]:
    from mlx_diagnose.collectors.release_signatures import counts

    for key, document in documents.items():
        count = counts(document)
        summary = ", ".join(f"{number} {what}" for what, number in count.items())
        yield view.paint("/".join(key), "bold") + f"  {summary}"
        for problem in document["unreadable"]:
            yield f"  not read: {problem['file']}: {problem['message']}"
        if in_full:
            yield from _in_full(document)


def _in_full(document: dict[str, Any]) -> Iterator[str]:
    for cls in document["classes"]:
        takes = cls["takes_dict"]
        how = f" · {takes['method']}, unknown keys {takes['unknown_keys'] or '?'}" if takes else ""
        yield f"  {cls['class_name']} ({cls['role']}{how}) {cls['file']}:{cls['line']}"
        for parameter in cls["parameters"]:
            default = "" if parameter["required"] else f" = {parameter['default'] or '...'}"
            yield f"    {parameter['name']}: {parameter['type'] or 'any'}{default}"
    for d in document["dependencies"]:
        verb = "must hold" if d["asserted"] else "implied"
        place = f"{d['file']}:{d['line']}"
        yield f"  {d['relation']}: {d['paths'][0]}, {d['others'][0]} ({verb}: {d['expression']}) {place}"


def _show_changes(before: Documents, after: Documents, as_json: bool, output: Path | None, view: View) -> None:
    from mlx_diagnose.collectors.signature_changes import changes

    found = list(changes(before, after))
    old, new = (sorted({str(d["mlx_audio"]) for d in documents.values()}) for documents in (before, after))
    if as_json or output is not None:
        listed = [{**asdict(change), "breaking": change.breaking} for change in found]
        text = _json({"before": ", ".join(old), "after": ", ".join(new), "changes": listed})
        write(text, str(output) if output is not None else None)
    else:
        show(_change_lines(found, ", ".join(old), ", ".join(new), view))


def _change_lines(found: list[Change], old: str, new: str, view: View) -> Iterator[str]:
    breaking = sum(change.breaking for change in found)
    yield f"mlx-audio {old} -> {new}: {len(found)} changes, {breaking} of them may break a config (marked !)"
    last = None
    for change in found:
        key = f"{change.category}/{change.family}"
        if key != last:
            yield view.paint(key, "bold")
            last = key
        subject = ".".join(filter(None, (change.class_name, change.name)))
        values = (
            f": {change.old} -> {change.new}" if change.old and change.new else f": {change.old or change.new or ''}"
        )
        yield f"  {'!' if change.breaking else ' '} {change.what} {subject}{values.rstrip(': ')}".rstrip()
