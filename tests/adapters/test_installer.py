"""Each kind of environment gets the command that installs into it; the shell reads back what was meant."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlx_diagnose.adapters.installer import exact_command

COMMAND = "pip install --no-cache-dir -U 'mlx-audio>=0.6'"


def environment(folder: Path, *files: str, **texts: str) -> Path:
    prefix = folder / "an env"
    for name in ("bin/python", *files):
        (prefix / name).parent.mkdir(parents=True, exist_ok=True)
        (prefix / name).touch()
    for name, text in texts.items():
        (prefix / name.replace("_", ".")).write_text(text)
    return prefix


@pytest.mark.parametrize(
    ("files", "pyvenv", "expected"),
    [
        (["lib/python3.11/site-packages/pip/__init__.py"], "home = /usr/bin", "{python} -m pip install --no-cache-dir"),
        ([], "home = /usr/bin\nuv = 0.9", "uv pip install --python {python} --no-cache"),
        ([], "home = /usr/bin", "pip --python {python} install --no-cache-dir"),
        (["conda-meta/history"], None, "conda run -p {prefix} python -m pip install --no-cache-dir"),
        (
            ["conda-meta/history", "lib/python3.12/site-packages/pip/__init__.py"],
            None,
            "{python} -m pip install --no-cache-dir",
        ),
        (["pipx_metadata.json"], "home = /usr/bin", "pipx runpip 'an env' install --no-cache-dir"),
        ([], None, "{python} -m pip install --no-cache-dir"),
    ],
)
def test_every_installer(tmp_path: Path, files: list[str], pyvenv: str | None, expected: str) -> None:
    prefix = environment(tmp_path, *files, **({} if pyvenv is None else {"pyvenv_cfg": pyvenv}))
    python = shlex.quote(str(prefix / "bin" / "python"))
    made = exact_command(COMMAND, str(prefix / "bin" / "python"))
    assert made == expected.format(python=python, prefix=shlex.quote(str(prefix))) + " -U 'mlx-audio>=0.6'"


@pytest.mark.parametrize(
    "command", ["hf download ORG/NAME", "pip install a && rm b", "pip install 'x", "brew install y"]
)
def test_other_commands_stay(command: str) -> None:
    assert exact_command(command, "/usr/bin/python3") == command


@given(st.text(st.characters(exclude_characters="\0"), min_size=1))
def test_no_name_breaks_out_of_the_command(name: str) -> None:
    made = exact_command(f"pip install {shlex.quote(name)}", f"/opt/{name}/bin/python")
    if name in ("&&", "||", ";", "|"):
        return
    assert shlex.split(made) == [str(Path(f"/opt/{name}/bin/python")), "-m", "pip", "install", name]
