"""``diagnose registry``."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

import click

from mlx_diagnose.adapters.registry import Entry, RegistryError
from mlx_diagnose.engine.cli._asking import color_option, screen, show
from mlx_diagnose.engine.cli._output import StatusLine, write
from mlx_diagnose.engine.cli._target import check_model
from mlx_diagnose.engine.model import ExitCode, UsageError
from mlx_diagnose.engine.options import Options
from mlx_diagnose.engine.report.sanitise import one_line
from mlx_diagnose.engine.report.view import ColorChoice

_python_option = click.option(
    "--python", metavar="PY", help="Interpreter to load with; else the activated environment's, else ours."
)


@click.group()
def registry() -> None:
    """List, show, add and load again models that are known to load, with config, tensors and versions.

    Yours lie in the data directory of this tool, on top of the known-good configurations that ship.
    """


@registry.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@color_option
def list_entries(as_json: bool, color: ColorChoice) -> int:
    """List the entries: yours, then those that ship."""
    from mlx_diagnose.adapters.registry import built_in, entries
    from mlx_diagnose.engine import registering

    broken: list[RegistryError] = []
    found: list[Entry] = []
    with contextlib.suppress(RuntimeError):  # there is no home directory
        found, broken = entries(registering.folder())
    found += built_in()
    if as_json:
        document = {
            "entries": [dict(registering.summary(entry)) for entry in found],
            "broken": [error.what for error in broken],
        }
        write(json.dumps(document, indent=2) + "\n", None)
        return ExitCode.LOADS
    view = screen(color)

    def told() -> Iterator[str]:
        for entry in found:
            yield f"{view.paint(one_line(entry.id), 'bold')}  {one_line(_described(entry))}"
        for error in broken:
            yield from view.fold(f"{one_line(error.what)} {one_line(error.why)}", "  ")

    show(told())
    return ExitCode.LOADS


@registry.command("show")
@click.argument("name")
def show_entry(name: str) -> int:
    """Show entry NAME as JSON."""
    from mlx_diagnose.adapters.registry import to_text
    from mlx_diagnose.engine import registering

    write(to_text(registering.find(name)), None)
    return ExitCode.LOADS


@registry.command("add")
@click.argument("model")
@_python_option
def add(model: str, python: str | None) -> int:
    """Load MODEL and, if it loads, add it. One that does not load is diagnosed by `diagnose MODEL`."""
    from mlx_diagnose.adapters import registry as store
    from mlx_diagnose.engine import pipeline, registering

    check_model(model)
    with StatusLine() as progress:
        report = pipeline.diagnose(Options(model=model, python=python), progress)
    if report.verdict not in ("loads", "loads-with-warnings") or report.target.path is None:
        raise UsageError(
            "does-not-load",
            f"{model} is not added: it is not seen to load here.",
            why=f"Its diagnosis says: {report.verdict}.",
            next_step=f"diagnose {model} --fix, then add what was written.",
        )
    try:
        path = store.write(registering.entry_of(report, Path(report.target.path)), registering.folder())
    except (OSError, RuntimeError) as error:
        raise RegistryError(
            "cannot-write", "The entry cannot be written.", why=f"Reason: {error}.", next_step="Set MLX_DIAGNOSE_HOME."
        ) from None
    write(f"{one_line(store.entry_id(model))}: {one_line(str(path))}\n", None)
    return ExitCode.LOADS


@registry.command("verify")
@click.argument("name")
@_python_option
def verify(name: str, python: str | None) -> int:
    """Load a specimen made from entry NAME: its config, and hollow weights with its tensors.

    Exits with 0 if it loads, 1 if it does not, 3 if it could not be tried to the end.
    """
    from mlx_diagnose.engine import registering

    entry = registering.find(name)
    with StatusLine() as progress:
        progress("loading a specimen")
        run = registering.verify(entry, Options(model=entry.model, python=python))
    version = run.version or "?"
    if run.loads:
        write(f"{one_line(entry.id)} loads with mlx-audio {one_line(version)}\n", None)
        return ExitCode.LOADS
    if not entry.tensors and run.failed_stage == "weights":
        write(
            f"{one_line(entry.id)}: its config makes the model with mlx-audio {one_line(version)}; "
            "of its tensors the registry knows nothing\n",
            None,
        )
        return ExitCode.LOADS
    said = run.chain[0] if run.chain else None
    told = f"{said['type']}: {said['message']}" if said else "the process ended"
    if registering.came_to_the_end(entry, run):
        write(f"{one_line(entry.id)} does not load: {run.failed_stage}: {one_line(told)}\n", None)
        return ExitCode.FAILURE
    fits = "its tensors fit the model that its config makes; " if run.failed_stage == "post_load" else ""
    stopped = f"{run.failed_stage} wants what the registry does not keep: {one_line(told)}"
    write(f"{one_line(entry.id)}: {fits}not tried to the end with mlx-audio {one_line(version)}: {stopped}\n", None)
    return ExitCode.INCONCLUSIVE


def _described(entry: Entry) -> str:
    version = entry.packages.get("mlx-audio")
    seen = f"loaded with mlx-audio {version} {(entry.verified_at or '')[:10]}" if version else entry.basis
    return f"{entry.category} {entry.family or '?'}, {entry.model}, {seen.strip()} ({entry.source})"
