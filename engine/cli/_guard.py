"""From words to an exit code: every error becomes a message in one style."""

from __future__ import annotations

from collections.abc import Sequence

import click

from mlx_diagnose.engine.cli._commands import dispatch
from mlx_diagnose.engine.cli._errors import report_crash, show_error
from mlx_diagnose.engine.model import DiagnoseError, ExitCode, UsageError


def guarded(words: Sequence[str]) -> int:
    """Run ``words`` as a command. Interruptions and broken pipes are left to the caller."""
    try:
        return dispatch(words)
    except click.Abort:  # click's word for an interruption
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        return show_error(_usage_error(error))
    except DiagnoseError as error:
        return show_error(error)
    except (KeyboardInterrupt, BrokenPipeError):
        raise
    except Exception as error:
        report_crash(error, words)
        return ExitCode.INTERNAL


def _usage_error(error: click.ClickException) -> UsageError:
    context = error.ctx if isinstance(error, click.UsageError) else None
    command = context.command_path if context else "diagnose"
    reference = {
        click.NoSuchOption: "no-such-option",
        click.BadOptionUsage: "bad-option",
        click.MissingParameter: "missing-argument",
        click.BadParameter: "bad-value",
    }.get(type(error), "usage")
    return UsageError(reference, error.format_message(), next_step=f"`{command} --help` shows what it takes.")
