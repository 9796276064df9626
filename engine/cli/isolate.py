"""``diagnose isolate``."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from mlx_diagnose.engine.cli._asking import screen
from mlx_diagnose.engine.cli._output import StatusLine, write
from mlx_diagnose.engine.cli._target import check_model
from mlx_diagnose.engine.isolation import Isolated, Request, make, plan
from mlx_diagnose.engine.report.sanitise import one_line


@click.command()
@click.argument("model", required=False)
@click.option("--release", metavar="X.Y.Z", help="The mlx-audio to install; the newest by default.")
@click.option("--dir", "folder", type=click.Path(path_type=Path), metavar="DIR", help="A new folder for all of it.")
@click.option("--python", metavar="PY", help="The Python to make it of; the one that runs diagnose by default.")
@click.option("--extra", "extras", multiple=True, metavar="NAME", help="An extra of mlx-audio; may be given again.")
@click.option("--with", "more", multiple=True, metavar="REQ", help="One more requirement; may be given again.")
@click.option(
    "--lock",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Install what a requirements.lock lists, and nothing else.",
)
@click.option("--offline", is_flag=True, help="Install from the installer's caches alone; the variables say so too.")
@click.option("--dry-run", is_flag=True, help="Say what would be made.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def isolate(
    model: str | None,
    release: str | None,
    folder: Path | None,
    python: str | None,
    extras: tuple[str, ...],
    more: tuple[str, ...],
    lock: Path | None,
    offline: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Make an environment of its own with one mlx-audio, to examine a model in.

    With MODEL, what its family imports besides is installed too. Everything lies in one folder:
    the environment, a lock of its packages, a Hugging Face home, and env.sh with the variables.
    Your own environment is not touched.
    """
    from mlx_diagnose.collectors import target
    from mlx_diagnose.collectors.interpreter import choose

    if lock is not None and (release or extras or more):
        raise click.UsageError("--lock says all that is to be installed; --release, --extra and --with add to it.")
    if model is not None:
        check_model(model)
    request = Request(
        folder=folder if folder is not None else _default_folder(model, release),
        base=choose(python).executable if python else sys.executable,
        release=release,
        extras=extras,
        more=more,
        lock=lock,
        located=target.locate(model) if model is not None else None,
        offline=offline,
    )
    if dry_run:
        made = plan(request)
    else:
        with StatusLine() as progress:
            made = make(request, progress)
    write(_json(made) if as_json else "".join(f"{line}\n" for line in _told(made, model, dry_run)), None)


def _default_folder(model: str | None, release: str | None) -> Path:
    """A folder beside the saved runs, with the first name that is free."""
    from mlx_diagnose.engine.runs import home

    name = (model or f"mlx-audio-{release or 'newest'}").rstrip("/").split("/")[-1]
    folder = home() / "environments" / name
    number = 2
    while folder.exists():
        folder = folder.with_name(f"{name}-{number}")
        number += 1
    return folder


def _json(made: Isolated) -> str:
    document = {
        **asdict(made),
        "folder": str(made.folder),
        "python": str(made.python),
        "lock": str(made.folder / "requirements.lock"),
        "activate": str(made.folder / "env.sh"),
    }
    return json.dumps(document, indent=2, ensure_ascii=True) + "\n"


def _told(made: Isolated, model: str | None, dry_run: bool) -> Iterator[str]:
    view = screen("auto")
    wanted = ", ".join(made.requirements) or "what the lock lists"
    if dry_run:
        yield from view.fold(f"Would make {made.folder} with {made.tool}, and install {wanted}.")
    else:
        shown = [
            f"{name} {made.packages[name]}" for name in ("mlx-audio", "mlx", "transformers") if name in made.packages
        ]
        yield from view.fold(f"Made {made.folder} with {made.tool}: {', '.join(shown)} and what they need.")
        if made.added:
            yield from view.fold(f"The model's family wanted besides: {', '.join(made.added)}.")
        yield from view.fold("requirements.lock lists all versions; --lock makes the same again.")
    yield ""
    yield "Diagnose with it:"
    yield f"  . {shlex.quote(str(made.folder / 'env.sh'))}"
    target = shlex.quote(one_line(model)) if model else "MODEL"
    yield f"  diagnose {target} --python {shlex.quote(str(made.python.parent.parent))}"
