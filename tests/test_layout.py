"""The shape of the repository: packages, links, data files, the one direction of imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]
FOLDERS = ("adapters", "collectors", "engine", "knowledge_base", "rules")
LONGEST = 500

#: Declarations that are looked up, not read through.
TABLES = {"engine/vocabulary.py"}

#: What each part may import of ours, beside itself; the longest prefix of a module's name counts.
FOUNDATION = {
    f"mlx_diagnose.{name}" for name in ("engine.model", "engine.memory", "engine.vocabulary", "engine.specimen")
}
MAY_IMPORT: dict[str, set[str]] = {
    "mlx_diagnose.engine.model": set(),
    "mlx_diagnose.engine.vocabulary": {"mlx_diagnose.engine.model"},
    "mlx_diagnose.engine.memory": {"mlx_diagnose.engine.model", "mlx_diagnose.engine.vocabulary"},
    "mlx_diagnose.collectors.probes": set(),
    "mlx_diagnose.collectors": FOUNDATION | {"mlx_diagnose.knowledge_base"},
    "mlx_diagnose.adapters": FOUNDATION
    | {
        "mlx_diagnose.collectors.syntax",
        "mlx_diagnose.collectors.tensors",
        "mlx_diagnose.engine.rulebase",
        "mlx_diagnose.knowledge_base",
    },
    "mlx_diagnose.knowledge_base": FOUNDATION,
    "mlx_diagnose.rules": set(),
    "mlx_diagnose.engine.rulebase": FOUNDATION
    | {"mlx_diagnose.adapters.shims", "mlx_diagnose.knowledge_base", "mlx_diagnose.rules"},
    "mlx_diagnose.engine.inference": FOUNDATION | {"mlx_diagnose.engine.rulebase"},
    "mlx_diagnose.engine.report": FOUNDATION
    | {
        "mlx_diagnose.adapters",
        "mlx_diagnose.engine.inference",
        "mlx_diagnose.engine.rulebase",
        "mlx_diagnose.knowledge_base",
    },
}


def product_files(pattern: str = "**/*") -> Iterator[Path]:
    """Files of the five folders and of ``mlx_diagnose`` itself, without what Python leaves behind."""
    for folder in (*FOLDERS, "mlx_diagnose"):
        base = ROOT / folder
        # pathlib of 3.13 follows the links of mlx_diagnose in ``**``; they are the five folders again.
        for file in base.glob(pattern.removeprefix("**/") if folder == "mlx_diagnose" else pattern):
            if file.is_file() and "__pycache__" not in file.parts and file.name != ".DS_Store":
                yield file


def module_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(parts if parts[0] == "mlx_diagnose" else ("mlx_diagnose", *parts))


MODULES = {module_of(file): file for file in product_files("**/*.py")}


def imports_of(file: Path) -> Iterator[tuple[int, str]]:
    """Line and absolute name of everything that ``file`` imports, inside functions too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield node.lineno, name if name in MODULES else str(node.module)


def within(module: str, part: str) -> bool:
    return module == part or module.startswith(part + ".")


def tracked() -> list[str]:
    """Paths that git tracks; what a bare copy of the files cannot tell is skipped."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [name for name in listed.split("\0") if name and (ROOT / name).exists()]


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_link_leads_to_the_folder_that_is_mapped(folder: str) -> None:
    link = ROOT / "mlx_diagnose" / folder
    assert link.is_symlink()
    assert link.readlink() == Path("..", folder)
    assert link.resolve() == (ROOT / SETUPTOOLS["package-dir"][f"mlx_diagnose.{folder}"]).resolve()


def test_the_packages_on_disk_are_those_listed() -> None:
    on_disk = {module for module, file in MODULES.items() if file.name == "__init__.py"}
    assert on_disk == set(SETUPTOOLS["packages"])
    assert SETUPTOOLS["packages"] == sorted(SETUPTOOLS["packages"])


def test_every_module_lies_in_a_package() -> None:
    strays = [str(file) for file in MODULES.values() if not (file.parent / "__init__.py").exists()]
    assert not strays


def test_every_data_file_is_shipped() -> None:
    shipped = set()
    for package, patterns in SETUPTOOLS["package-data"].items():
        base = ROOT.joinpath(*package.removeprefix("mlx_diagnose.").split("."))
        for pattern in patterns:
            shipped.update(base.glob(pattern))
    forgotten = {file for file in product_files() if file.suffix != ".py"} - shipped
    assert not forgotten


def test_product_modules_are_short() -> None:
    lengths = {
        str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines()) for file in MODULES.values()
    }
    assert {name: length for name, length in lengths.items() if length > LONGEST and name not in TABLES} == {}


def test_imports_go_one_way() -> None:
    wrong = []
    for module, file in MODULES.items():
        part = max((part for part in MAY_IMPORT if within(module, part)), key=len, default=None)
        for line, name in imports_of(file):
            assert name.split(".")[0] not in FOLDERS, f"{file}:{line}: import mlx_diagnose.{name}"
            ours = within(name, "mlx_diagnose") and name != "mlx_diagnose"
            if part and ours and not any(within(name, allowed) for allowed in {part, *MAY_IMPORT[part]}):
                wrong.append(f"{module}:{line} imports {name}")
            if not within(module, "mlx_diagnose.engine.cli") and module != "mlx_diagnose.__main__":
                assert not within(name, "mlx_diagnose.engine.cli"), f"{module}:{line} imports the command line"
    assert not wrong


def test_the_probe_needs_nothing_but_the_standard_library_and_the_patient() -> None:
    patients = {"huggingface_hub", "mlx", "mlx_audio", "mlx_diagnose", "numpy"}
    wrong = [
        f"{module}:{line} imports {name}"
        for module, file in MODULES.items()
        if within(module, "mlx_diagnose.collectors.probes")
        for line, name in imports_of(file)
        if name.split(".")[0] not in patients | set(sys.stdlib_module_names)
    ]
    assert not wrong


def test_the_orchestrator_never_imports_what_it_examines() -> None:
    ours = sorted(
        module
        for module in MODULES
        if not within(module, "mlx_diagnose.collectors.probes") and module != "mlx_diagnose.__main__"
    )
    program = (
        "import importlib, sys\n"
        f"for name in {ours!r}: importlib.import_module(name)\n"
        "print(*sorted({'mlx', 'mlx_audio', 'transformers', 'torch'} & {name.split('.')[0] for name in sys.modules}))"
    )
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (ran.stdout.strip(), ran.stderr, ran.returncode) == ("", "", 0)


def test_no_tracked_text_names_a_registry_host_or_a_path_of_one_machine() -> None:
    # Written in pieces, so that this file does not name them.
    hosts = "|".join(("py" + r"pi\.org", "python" + "hosted", "index" + "-url", "find" + "-links"))
    machine = r"(?<![\w.~*-])/" + "(?:work|root)/"
    pattern = re.compile(f"{hosts}|{machine}")
    named = []
    for name in tracked():
        file = ROOT / name
        if file.is_symlink():
            continue
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        named += [f"{name}: {match[0]}" for match in pattern.finditer(text)]
    assert not named
