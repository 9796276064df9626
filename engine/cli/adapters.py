"""``diagnose adapters``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlx_diagnose.adapters.adapter import Adapter
from mlx_diagnose.engine.cli._asking import color_option, no_plugins_option, screen, show
from mlx_diagnose.engine.cli._output import write
from mlx_diagnose.engine.model import ExitCode, UsageError
from mlx_diagnose.engine.report.sanitise import one_line
from mlx_diagnose.engine.report.view import ColorChoice, View

if TYPE_CHECKING:
    from mlx_diagnose.engine.rulebase.problems import Problem


@click.group()
def adapters() -> None:
    """List, show, check and write out adapters, which mend a model while an app loads it.

    They come from packages (entry point group mlx_diagnose.adapters) and from the folder adapters in
    the user's configuration folder, as YAML or Python.
    """


@adapters.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@no_plugins_option
@color_option
def list_adapters(as_json: bool, no_plugins: bool, color: ColorChoice) -> int:
    """List the adapters that are known, with what they are for."""
    from mlx_diagnose.adapters.discovery import adapters_folder, find_adapters

    found, broken = find_adapters(plugins=not no_plugins)
    if as_json:
        document = {
            "adapters": [_summary(adapter) for _, adapter in sorted(found.items())],
            "broken": [{"source": place.source, "reason": place.reason} for place in broken],
        }
        write(json.dumps(document, indent=2) + "\n", None)
        return ExitCode.LOADS
    view = screen(color)

    def told() -> Iterator[str]:
        for name, adapter in sorted(found.items()):
            yield view.paint(one_line(name), "bold")
            yield from view.fold(f"  {one_line(adapter.title)}", "  ") if adapter.title else ()
            yield from view.fold(f"  {one_line(_meant_for(adapter))}", "  ")
            yield from (view.paint(line, "dim") for line in view.fold(f"  {one_line(adapter.source)}", "  "))
        for place in broken:
            yield from view.fold(f"{one_line(place.source)} cannot be used: {one_line(place.reason)}", "  ")
        if not found and not broken:
            yield from view.fold(f"There are none. Files in {adapters_folder()} are read.", "  ")

    show(told())
    return ExitCode.LOADS


@adapters.command("show")
@click.argument("name")
@no_plugins_option
def show_adapter(name: str, no_plugins: bool) -> int:
    """Show the adapter NAME as YAML."""
    from mlx_diagnose.adapters.adapter_yaml import write_adapter

    adapter = _known(name, no_plugins)
    text = write_adapter(adapter)
    if adapter.mend_config is not None or adapter.mend_weights is not None:
        text += f"# and functions in Python: {one_line(adapter.source)}\n"
    write(text, None)
    return ExitCode.LOADS


@adapters.command("emit")
@click.argument("name")
@click.argument("model")
@click.option("-o", "--output", metavar="FILE", help="Write it to FILE instead of standard output.")
@no_plugins_option
def emit(name: str, model: str, output: str | None, no_plugins: bool) -> int:
    """Write adapter NAME (or a file) for MODEL as one Python file that needs mlx-audio only."""
    from mlx_diagnose.adapters.adapter_source import adapter_source
    from mlx_diagnose.adapters.config_patch import PatchError
    from mlx_diagnose.collectors import target

    adapter = _known(name, no_plugins)
    located = target.locate(model)
    try:
        config = json.loads(((located.directory or Path()) / "config.json").read_bytes())
        text = adapter_source(adapter, model if located.source == "hub" else located.load, config)
    except (OSError, ValueError, PatchError) as error:
        raise UsageError(
            "adapter-does-not-fit",
            f"The adapter {name} cannot be written for {model}.",
            why=f"Reason: {error}.",
            next_step="Give a model that is here and whose config it is for.",
        ) from None
    if adapter.mend_config is not None or adapter.mend_weights is not None:
        raise UsageError(
            "adapter-is-python",
            f"The adapter {name} has functions of its own, which cannot be written out.",
            next_step=f"Its source is {adapter.source}.",
        )
    write(text, output)
    return ExitCode.LOADS


@adapters.command("validate")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@color_option
def validate(files: tuple[Path, ...], color: ColorChoice) -> int:
    """Check adapter FILES (YAML or Python); what is wrong is told with line and column."""
    from mlx_diagnose.adapters.adapter_yaml import InvalidAdapter
    from mlx_diagnose.adapters.discovery import read_file

    view: View = screen(color)
    problems: list[Problem] = []
    lines: list[str] = []
    for file in files:
        try:
            names = ", ".join(one_line(adapter.name) for adapter in read_file(file))
            lines.append(f"{view.glyph('✓', 'OK')} {one_line(str(file))}: {names}")
        except InvalidAdapter as error:
            problems += error.problems
    show(iter(lines))
    if problems:
        raise InvalidAdapter(problems)
    return ExitCode.LOADS


def _known(name: str, no_plugins: bool) -> Adapter:
    from mlx_diagnose.adapters.discovery import find_adapters, read_file

    if name.endswith((".yaml", ".yml", ".py")) and Path(name).is_file():
        return read_file(Path(name))[0]
    found, _ = find_adapters(plugins=not no_plugins)
    if name not in found:
        from mlx_diagnose.engine.rulebase.problems import did_you_mean

        raise UsageError(
            "no-such-adapter",
            f"There is no adapter {name!r}.",
            why=did_you_mean(name, found),
            next_step="`diagnose adapters list` names those that are known.",
        )
    return found[name]


def _meant_for(adapter: Adapter) -> str:
    parts = [f"models {', '.join(adapter.models)}"] if adapter.models else []
    parts += [f"families {', '.join(adapter.families)}"] if adapter.families else []
    parts += [f"mlx-audio {adapter.mlx_audio}"] if adapter.mlx_audio else []
    return f"for {'; '.join(parts)}" if parts else "only where it is asked for by name"


def _summary(adapter: Adapter) -> dict[str, object]:
    return {
        "name": adapter.name,
        "title": adapter.title,
        "category": adapter.category,
        "models": adapter.models,
        "families": adapter.families,
        "mlx_audio": adapter.mlx_audio,
        "shims": adapter.shims,
        "environment": dict(adapter.environment),
        "verified": dict(adapter.verified),
        "source": adapter.source,
    }
