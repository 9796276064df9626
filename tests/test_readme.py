"""What README.md says of the command line is what the command line says of itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from mlx_diagnose.engine.model import ExitCode

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def section(name: str) -> str:
    found = re.search(rf"<!-- {name}\b[^>]*-->\n(.*?)<!-- /{name} -->", README, re.DOTALL)
    assert found, f"README.md has no part {name}"
    return found[1]


def diagnose(*words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "COLUMNS": "80", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "mlx_diagnose", *words]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_the_help_is_that_of_the_command() -> None:
    shown = section("help").strip("`\n")
    told = diagnose("--help").stdout
    # Where lines break is click's business, and differs between its releases.
    assert shown.split() == told.split(), f"README.md should show:\n{told}"


def test_the_exit_codes_are_those_of_the_contract() -> None:
    table = README[README.index("| exit | means |") :]
    listed = [int(code) for code in re.findall(r"^\| (\d+) \|", table.split("\n\n")[0], re.MULTILINE)]
    assert listed == sorted(code.value for code in ExitCode)


def test_the_first_two_commands_install_and_run() -> None:
    first, second = (command.strip().split(" && ") for command in COMMANDS[:2])
    assert [first[0], second[0]] == ["python3 -m venv .venv"] * 2
    assert first[-1] == ".venv/bin/diagnose demo"
    assert second[-1].startswith(".venv/bin/pytest")


def test_links_lead_to_files() -> None:
    for document in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "rules/README.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+)", text):
            if "://" not in target:
                assert (ROOT / document).parent.joinpath(target).exists(), f"{document}: {target}"
