"""``diagnose rules``: list, show, lint, test, write and document rules."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from mlx_diagnose.engine.model import DiagnoseError, ExitCode, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlx_diagnose.engine.inference.case_runner import CaseResult
    from mlx_diagnose.engine.rulebase import Rule, RuleBase, RuleSource

_PATHS = click.Path(path_type=Path)


class _Group(click.Group):
    """A group whose commands end with our exit codes instead of a traceback, also when run alone."""

    def invoke(self, ctx: click.Context) -> object:
        if ctx.parent is not None:
            return super().invoke(ctx)  # the command line above shows errors
        try:
            return super().invoke(ctx)
        except DiagnoseError as error:
            click.echo(f"error: {error.what} [{error.reference}]", err=True)
            for text in (error.why, error.next_step):
                if text:
                    click.echo(text, err=True)
            ctx.exit(int(error.exit_code))


@click.group(cls=_Group)
def rules() -> None:
    """List, show, check, test, write and document rules."""


def _sources(paths: Sequence[Path], plugins: bool) -> list[RuleSource]:
    from mlx_diagnose.engine.rulebase import default_sources

    return default_sources(paths, plugins)


def _load(paths: Sequence[Path], plugins: bool) -> RuleBase:
    from mlx_diagnose.engine.rulebase import load_rules

    return load_rules(_sources(paths, plugins))


def _with_sources(command: Callable[..., None]) -> Callable[..., None]:
    command = click.option("--no-plugins", is_flag=True, help="Leave installed rule packs out.")(command)
    return click.option("--rules", "extra", multiple=True, type=_PATHS, metavar="DIR", help="Another folder of rules.")(
        command
    )


@rules.command("list")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@_with_sources
def list_rules(extra: tuple[Path, ...], no_plugins: bool, as_json: bool) -> None:
    """All rules, where each comes from, and which are replaced or disabled."""
    base = _load(extra, not no_plugins)
    entries = sorted(base.entries, key=lambda entry: entry.id)
    if as_json:
        import json

        fields = ("id", "source", "file", "status", "by")
        click.echo(
            json.dumps(
                [
                    {
                        **{name: getattr(entry, name) for name in fields},
                        "title": entry.rule.title if entry.rule else None,
                        "failure_class": entry.rule.failure_class if entry.rule else None,
                        "severity": entry.rule.severity if entry.rule else None,
                        "maturity": entry.rule.maturity if entry.rule else None,
                    }
                    for entry in entries
                ],
                indent=2,
            )
        )
        return
    width = max((len(entry.id) for entry in entries), default=0)
    for entry in entries:
        what = ""
        if entry.rule is not None:
            what = entry.rule.failure_class or f"derives {entry.rule.derive.kind if entry.rule.derive else ''}"
        note = "" if entry.status == "active" else f"  {entry.status}{f' by {entry.by}' if entry.by else ''}"
        source = "" if entry.source == "built-in" else f"  ({entry.source})"
        click.echo(f"{entry.id:<{width}}  {what}{source}{note}".rstrip())
    active = sum(entry.status == "active" for entry in entries)
    click.echo(f"{active} rules in force, {len(entries) - active} replaced or disabled", err=True)


@rules.command("show")
@click.argument("rule_id", metavar="RULE")
@_with_sources
def show(rule_id: str, extra: tuple[Path, ...], no_plugins: bool) -> None:
    """One rule: what it looks at, what it concludes, and its file."""
    from mlx_diagnose.engine.rulebase.reference import render_rule

    rule = _find(_load(extra, not no_plugins), rule_id)
    click.echo("\n".join(render_rule(rule)).strip())
    click.echo(f"- File: {rule.file}")
    for number, conjunction in enumerate(rule.alternatives, start=1):
        click.echo(f"\nFires when{f' (alternative {number})' if len(rule.alternatives) > 1 else ''}:")
        for pattern in conjunction.positive:
            click.echo(f"  {pattern}")
        for pattern in conjunction.negative:
            click.echo(f"  no {pattern}")
    click.echo(f"\nCases: {len(rule.invalid)} on which it fires, {len(rule.valid)} on which it stays silent")


def _find(base: RuleBase, rule_id: str) -> Rule:
    from mlx_diagnose.engine.rulebase.problems import did_you_mean

    rule = base.by_id.get(rule_id)
    if rule is None:
        raise UsageError("no-such-rule", f"there is no rule {rule_id!r}", next_step=did_you_mean(rule_id, base.by_id))
    return rule


def _chosen(paths: Sequence[Path]) -> RuleBase:
    """The rules of ``paths``, or all rules in force when there are none."""
    from mlx_diagnose.engine.rulebase import load_rules
    from mlx_diagnose.engine.rulebase.sources import RuleSource

    if not paths:
        return _load((), True)
    for path in paths:
        if not path.exists():
            raise UsageError("no-such-rules", f"there is no file or folder {str(path)!r}")
    return load_rules(RuleSource(str(path), path) for path in paths)


@rules.command("lint")
@click.argument("paths", nargs=-1, type=_PATHS)
def lint_rules(paths: tuple[Path, ...]) -> None:
    """Check rule files for errors (exit 4), and advise on style (exit 1)."""
    from mlx_diagnose.engine.rulebase.lint import lint

    base = _chosen(paths)
    remarks = [remark for rule in base.rules for remark in lint(rule)]
    for remark in remarks:
        click.echo(str(remark))
    click.echo(f"{len(base.rules)} rules, {len(remarks)} remarks", err=True)
    if remarks:
        click.get_current_context().exit(ExitCode.FAILURE.value)


@rules.command("test")
@click.argument("paths", nargs=-1, type=_PATHS)
@click.option(
    "--engine", type=click.Choice(["durable", "clips"]), help="Only this engine; by default all that are installed."
)
@click.option("-v", "--verbose", is_flag=True, help="Show what each case gave.")
def test_rules(paths: tuple[Path, ...], engine: str | None, verbose: bool) -> None:
    """Run the cases of rules: each must fire on its invalid cases and stay silent on its valid ones.

    PATH is a rule file or a folder of them; without it, all rules in force are tested.
    """
    from mlx_diagnose.engine.inference.case_runner import run_cases
    from mlx_diagnose.engine.inference.engines import available_engines, check_engine

    check_engine(engine)
    base = _chosen(paths)
    engines = (engine,) if engine else available_engines()
    total = failed = 0
    for rule in base.rules:
        results = list(run_cases(rule, engines))
        bad = [result for result in results if not result.passed]
        total, failed = total + len(rule.cases), failed + len({id(result.case) for result in bad})
        click.echo(f"{'FAIL' if bad else 'ok  '}  {rule.id}  ({len(rule.invalid)} fire, {len(rule.valid)} silent)")
        if verbose:
            for result in results:
                if result.engine == engines[0]:
                    _show_case(result)
        _show_failures(rule, bad, len(engines))
    count = "1 rule" if len(base.rules) == 1 else f"{len(base.rules)} rules"
    click.echo(f"\n{total - failed} of {total} cases passed, {count}, on {' and '.join(engines)}")
    if failed:
        click.get_current_context().exit(ExitCode.FAILURE.value)


def _show_case(result: CaseResult) -> None:
    click.echo(f"      {'fires on' if result.case.fires else 'silent on'}: {result.case.name}")
    for finding in result.inference.findings:
        click.echo(f"        {finding.failure_class}: {finding.cause}")
        for fix in finding.fixes:
            click.echo(f"        fix: {fix.title}{f'  {list(fix.config_patch)}' if fix.config_patch else ''}")


def _show_failures(rule: Rule, bad: Sequence[CaseResult], engines: int) -> None:
    by_case: dict[tuple[int, tuple[str, ...]], list[CaseResult]] = {}
    for result in bad:
        by_case.setdefault((result.case.line, result.failures), []).append(result)
    for (line, failures), results in by_case.items():
        case = results[0].case
        only = f" (on {', '.join(result.engine for result in results)} only)" if len(results) < engines else ""
        click.echo(f"      {rule.file}:{line}: {'invalid' if case.fires else 'valid'} case {case.name!r}{only}")
        for failure in failures:
            click.echo(f"        {failure}")
        if case.fires and not results[0].inference.activations:
            for text in _why_silent(rule, results[0]):
                click.echo(f"        {text}")


def _why_silent(rule: Rule, result: CaseResult) -> list[str]:
    from mlx_diagnose.engine.inference.explain import render_why_not, why_not

    return render_why_not(why_not(rule, result.inference.memory)).splitlines()


@rules.command("new")
@click.argument("rule_id", metavar="ID")
@click.option(
    "--class", "failure_class", default="config/missing-key", show_default=True, help="Failure class it concludes."
)
@click.option(
    "--dir", "folder", type=_PATHS, help="Folder to write to; by default rules/ of a checkout, else ./diagnose-rules/."
)
def new(rule_id: str, failure_class: str, folder: Path | None) -> None:
    """Write a commented rule to start from. Its cases pass as it stands."""
    from mlx_diagnose.engine.rulebase.failure_classes import FAILURE_CLASSES
    from mlx_diagnose.engine.rulebase.problems import did_you_mean, one_of
    from mlx_diagnose.engine.rulebase.rule_reader import RULE_ID
    from mlx_diagnose.engine.rulebase.skeleton import schema_for, skeleton

    if not RULE_ID.fullmatch(rule_id):
        raise UsageError("bad-rule-id", f"{rule_id!r} is not of the form lower-case-words-with-dashes")
    if failure_class not in FAILURE_CLASSES:
        hint = did_you_mean(failure_class, FAILURE_CLASSES) or one_of(FAILURE_CLASSES)
        raise UsageError("no-such-class", f"there is no failure class {failure_class!r}", next_step=hint)
    target = (folder or _default_folder()) / f"{rule_id}.yaml"
    if target.exists():
        raise UsageError("rule-exists", f"{target} is there already", next_step="Choose another id, or edit the file.")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(skeleton(rule_id, failure_class, schema_for(target)), encoding="utf-8")
    click.echo(f"wrote {target}")
    click.echo(f"1. Run its cases:   diagnose rules test {target}", err=True)
    click.echo("2. Change the lines marked (1) to (4), and run them again.", err=True)
    click.echo("   Kinds of facts:  diagnose rules docs", err=True)


def _default_folder() -> Path:
    """``rules/`` when we stand in a checkout, else the project's folder, which is searched."""
    from mlx_diagnose.engine.rulebase.sources import PROJECT_FOLDER

    here = Path.cwd()
    return (
        here / "rules"
        if (here / "rules" / "README.md").is_file() and (here / "knowledge_base").is_dir()
        else here / PROJECT_FOLDER
    )


@rules.command("docs")
@click.option("-o", "--output", type=_PATHS, metavar="FILE", help="Write to a file.")
@_with_sources
def docs(output: Path | None, extra: tuple[Path, ...], no_plugins: bool) -> None:
    """The kinds of facts, the tests and the rules, as Markdown."""
    from mlx_diagnose.engine.rulebase.reference import render_reference

    text = render_reference(_load(extra, not no_plugins))
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
