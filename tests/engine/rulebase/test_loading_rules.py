"""Sources in their order: later rules replace or disable earlier ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlx_diagnose.engine.model import ExitCode, UsageError
from mlx_diagnose.engine.rulebase import InvalidRules, RuleSource, load_rules
from mlx_diagnose.engine.rulebase.sources import builtin_source, directory_source
from tests.engine.rulebase.rule_texts import GOOD, edited


def folder(path: Path, **texts: str) -> RuleSource:
    path.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (path / f"{name}.yaml").write_text(text, encoding="utf-8")
    return RuleSource(path.name, path)


def test_a_later_rule_replaces_an_earlier_one(tmp_path):
    base = load_rules(
        [folder(tmp_path / "one", good=GOOD), folder(tmp_path / "two", good=edited("A key is missing", "Other", GOOD))]
    )
    assert [rule.title for rule in base.rules] == ["Other"]
    assert [(e.source, e.status, e.by) for e in base.entries] == [
        ("one", "replaced", str(tmp_path / "two" / "good.yaml")),
        ("two", "active", None),
    ]


def test_a_later_file_disables_a_rule_and_one_after_it_brings_it_back(tmp_path):
    one, off = folder(tmp_path / "one", good=GOOD), folder(tmp_path / "off", good="id: good\ndisabled: true\n")
    assert load_rules([one, off]).rules == ()
    assert [entry.status for entry in load_rules([one, off]).entries] == ["disabled", "disabled"]
    again = load_rules([one, off, folder(tmp_path / "again", good=GOOD)])
    assert [entry.status for entry in again.entries] == ["disabled", "disabled", "active"]
    assert len(again.rules) == 1


def test_problems_of_all_files_are_told_at_once(tmp_path):
    bad = edited("severity: error", "severity: eror")
    source = folder(tmp_path / "r", good=bad, other=edited("id: good", "id: other", bad), empty="")
    with pytest.raises(InvalidRules) as caught:
        load_rules([source])
    assert [Path(problem.file).name for problem in caught.value.problems] == ["empty.yaml", "good.yaml", "other.yaml"]
    assert caught.value.exit_code == ExitCode.INVALID_RULES
    assert caught.value.what == "3 rule files: 3 problems"
    assert caught.value.why.count("\n") == 2


def test_two_rules_of_one_id_in_one_source_are_refused(tmp_path):
    folder(tmp_path / "r" / "a", good=GOOD)
    folder(tmp_path / "r" / "b", good=GOOD)
    with pytest.raises(InvalidRules, match="1 problem") as caught:
        load_rules([RuleSource("r", tmp_path / "r")])
    assert "stands in" in caught.value.why


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"id: \xff\xfe", "is not UTF-8 text"),
        (b"a: 1\nb: 2\n\xff", ":3:1: is not UTF-8"),
        ("\ufeff".encode() + GOOD.encode(), None),
        (GOOD.replace("\n", "\r\n").encode(), None),
    ],
)
def test_encodings(tmp_path, content, message):
    (tmp_path / "good.yaml").write_bytes(content)
    if message is None:
        assert len(load_rules([directory_source(tmp_path)]).rules) == 1
        return
    with pytest.raises(InvalidRules) as caught:
        load_rules([directory_source(tmp_path)])
    assert message in caught.value.why


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / "good.yaml").symlink_to(tmp_path / "good.yaml")
    (tmp_path / "other.yaml").mkdir()
    assert load_rules([directory_source(tmp_path)]).rules == ()  # neither is a file


def test_subfolders_are_read_and_hidden_ones_are_not(tmp_path):
    folder(tmp_path / "deep" / "er", good=GOOD)
    folder(tmp_path / ".hidden", other=GOOD)
    (tmp_path / "notes.txt").write_text("no rule")
    assert [rule.id for rule in load_rules([directory_source(tmp_path)]).rules] == ["good"]


def test_a_folder_that_is_not_there_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError):
        directory_source(tmp_path / "none")


@pytest.mark.parametrize(
    ("known", "applies"),
    [
        ({}, True),
        ({"category": "tts"}, True),
        ({"category": "stt"}, False),
        ({"family": "kokoro"}, True),
        ({"family": "bark"}, False),
        ({"mlx_audio": "0.3.1"}, True),
        ({"mlx_audio": "0.6.0"}, False),
        ({"mlx_audio": "unknown"}, True),
        ({"category": "tts", "family": "kokoro", "mlx_audio": "0.5.9"}, True),
    ],
)
def test_rules_apply_where_they_say(tmp_path, known, applies):
    text = edited('families: ["*"], mlx_audio: ">=0.2"', 'families: ["kok*", dia], mlx_audio: ">=0.2,<0.6"')
    base = load_rules([folder(tmp_path / "r", good=text)])
    assert bool(base.applicable(**known)) == applies


def test_cases_of_built_in_rules_may_be_left_unread():
    quick, whole = load_rules([builtin_source()], with_cases=False), load_rules([builtin_source()])
    assert [rule.id for rule in quick.rules] == [rule.id for rule in whole.rules]
    assert all(rule.cases for rule in whole.rules) and not any(rule.cases for rule in quick.rules)
    assert [rule.alternatives for rule in quick.rules] == [rule.alternatives for rule in whole.rules]
    assert [(rule.finding, rule.derive, rule.explains) for rule in quick.rules] == [
        (rule.finding, rule.derive, rule.explains) for rule in whole.rules
    ]


PACK = """\
[mlx_diagnose.rule_packs]
mine = {module}
"""


def listed(tmp_path: Path, *arguments: str) -> list[str]:
    """``name of source`` of every source, in a process that stands in ``tmp_path`` and sees its packs."""
    script = (
        "from pathlib import Path\n"
        "from mlx_diagnose.engine.rulebase import default_sources, load_rules\n"
        f"sources = default_sources([Path('extra')], plugins={'no-plugins' not in arguments})\n"
        "print(*[source.name for source in sources], sep='\\n')\n"
        "print(*[(e.id, e.source, e.status) for e in load_rules(sources).entries if e.id == 'good'], sep='\\n')\n"
        "import sys; print('imported' if 'packmodule' in sys.modules else 'not imported')\n"
    )
    config = {"XDG_CONFIG_HOME": str(tmp_path / "home"), "HOME": str(tmp_path / "home")}
    path = os.pathsep.join(filter(None, [str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env={**os.environ, **config, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("module", ["packmodule", "packmodule.rules"])
def test_the_order_of_search(tmp_path, module):
    home = "home/Library/Application Support" if sys.platform == "darwin" else "home"
    for place in ("extra", "diagnose-rules", f"{home}/mlx-diagnose/rules", "site/" + module.replace(".", "/")):
        folder(tmp_path / place, good=GOOD)
    (tmp_path / "site" / "packmodule" / "__init__.py").write_text("raise SystemExit('a pack is data')")
    info = tmp_path / "site" / "packmodule-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: packmodule\nVersion: 1\n")
    (info / "entry_points.txt").write_text(PACK.format(module=module))
    assert listed(tmp_path) == [
        "built-in",
        "--rules extra",
        "./diagnose-rules",
        "user",
        "pack mine",
        "('good', '--rules extra', 'replaced')",
        "('good', './diagnose-rules', 'replaced')",
        "('good', 'user', 'replaced')",
        "('good', 'pack mine', 'active')",
        "not imported",
    ]
    assert listed(tmp_path, "no-plugins")[4] == "('good', '--rules extra', 'replaced')"
