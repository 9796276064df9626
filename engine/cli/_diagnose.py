"""``diagnose MODEL``: what the command is about."""

from __future__ import annotations

from pathlib import Path

import click

from mlx_diagnose import __version__
from mlx_diagnose.engine.cli import _pasted
from mlx_diagnose.engine.cli._asking import category_option, online_option
from mlx_diagnose.engine.cli._commands import load, subcommands
from mlx_diagnose.engine.cli._fixing import Fixing, fixing_options
from mlx_diagnose.engine.cli._output import StatusLine
from mlx_diagnose.engine.cli._reporting import Reporting, reporting_options
from mlx_diagnose.engine.cli._target import check_model
from mlx_diagnose.engine.options import DEFAULT_TIMEOUT, Options

ENGINES = ("durable", "clips")
_MEGABYTE = 1 << 20
_LONGEST = 7 * 24 * 3600.0


def finite(ctx: click.Context, parameter: click.Parameter, value: float) -> float:
    """Refuse nan, which is in every range."""
    if value != value:
        raise click.BadParameter("nan is no number of seconds.", ctx, parameter)
    return value


class _WithSubcommands(click.Command):
    """A command whose help lists its neighbours: every first word that is none of them is a MODEL."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, load(name).get_short_help_str(60)) for name in subcommands()])
        super().format_epilog(ctx, formatter)


@click.command(
    cls=_WithSubcommands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="A MODEL that has the name of a command is written ./NAME.",
)
@click.argument("model", required=False)
@click.option(
    "--traceback", metavar="FILE", help="Classify a pasted traceback instead of a model; - for standard input."
)
@click.option("--python", metavar="PY", help="Interpreter to examine; else the activated environment's, else ours.")
@category_option
@click.option("--revision", metavar="REV", help="Branch, tag or commit of a hub model.")
@online_option
@click.option("--only-static", is_flag=True, help="Look at files only; run nothing of mlx-audio.")
@click.option("--trace", is_flag=True, help="Record the calls that make the model, with their time and memory.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True, max=_LONGEST),
    callback=finite,
    default=DEFAULT_TIMEOUT,
    show_default=True,
    metavar="S",
    help="Seconds that the examined process may take in all.",
)
@click.option(
    "--memory", type=click.IntRange(min=1), metavar="MB", help="Memory that it may take, in MB of 2**20 bytes."
)
@click.option("--engine", type=click.Choice(ENGINES), help="Inference engine; the default is what is installed.")
@click.option(
    "--rules",
    "rule_dirs",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="DIR",
    help="More rules, on top of the built-in ones; may be given several times.",
)
@click.option("--no-plugins", is_flag=True, help="Leave installed rule packs out.")
@fixing_options
@reporting_options
@click.version_option(__version__, "--version", message="diagnose %(version)s")
@click.pass_context
def diagnose(
    context: click.Context,
    model: str | None,
    traceback: str | None,
    python: str | None,
    category: str | None,
    revision: str | None,
    online: bool | None,
    only_static: bool,
    trace: bool,
    timeout: float,
    memory: int | None,
    engine: str | None,
    rule_dirs: tuple[Path, ...],
    no_plugins: bool,
    fixing: Fixing,
    reporting: Reporting,
) -> int:
    """Tell why a model of mlx-audio does not load, and what fixes it.

    MODEL is a hub id (org/name), a local directory, or a bundle file.

    Exits with 0 if it loads, 1 if a failure was diagnosed, 2 for wrong usage, 3 if no rule
    explains the failure, 4 for invalid rules, 5 if --fix could write no verified fix, 70 for a
    defect of diagnose itself.
    """
    if traceback is not None:
        _pasted.check_alone(context, model)
    elif model is None:
        raise click.MissingParameter(ctx=context, param_hint="'MODEL'", param_type="argument")
    else:
        check_model(model)
    options = Options(
        model=model or "",
        python=python,
        category=category,
        revision=revision,
        offline=None if online is None else not online,
        only_static=only_static,
        trace=trace,
        timeout=timeout,
        memory=None if memory is None else memory * _MEGABYTE,
        engine=engine,
        rule_dirs=rule_dirs,
        plugins=not no_plugins,
    )
    if traceback is not None:
        return reporting.deliver(_pasted.classify(traceback, options))
    fixing.check(options)
    from mlx_diagnose.engine import bundled

    with StatusLine() as progress:
        report, refused = fixing.carry_out(bundled.diagnose(options, progress), options, progress)
    return fixing.code(report, refused, reporting.deliver(report))
