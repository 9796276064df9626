"""What families import against what is installed and declared: small installations made here, and the real one."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest

from mlx_diagnose.collectors import dependencies
from mlx_diagnose.collectors.distributions import Installed
from mlx_diagnose.collectors.requirements import extras
from mlx_diagnose.collectors.static_patient import greeting
from mlx_diagnose.collectors.surroundings import Surroundings, imported_directory
from mlx_diagnose.engine.memory import WorkingMemory

_LINUX = {"python": "3.11.7", "system": "Linux", "machine": "x86_64", "implementation": "cpython"}


def _write(root: Path, **files: str) -> None:
    for name, text in files.items():
        file = root / (name.replace("__", "/") + ".py" if not name.endswith("init") else _init(name))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))


def _init(name: str) -> str:
    return name.replace("__", "/").removesuffix("init") + "__init__.py"


def _install(site: Path, name: str, version: str, *requires: str, top: str | None = None) -> None:
    metadata = site / f"{name.replace('-', '_')}-{version}.dist-info"
    metadata.mkdir(parents=True)
    lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {text}" for text in requires)]
    (metadata / "METADATA").write_text("\n".join(lines))
    if top is not None:
        (metadata / "RECORD").write_text(f"{top}/__init__.py,,\n../../bin/x,,\n{top}/core.py,,\n")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A mlx-audio with one family ``fam`` whose files tests write, and a few packages."""
    site = tmp_path / "site"
    _write(
        site,
        mlx_audio__init="",
        mlx_audio__utils="import json\nfrom pkg_a import load\n",
        mlx_audio__tts__init="from .utils import load_model\n",
        mlx_audio__tts__utils="from mlx_audio.utils import load\n",
        mlx_audio__tts__models__init="",
        mlx_audio__tts__models__fam__init="from .model import Model\n",
        pkg_a__init="from .core import *\n",
        pkg_a__core="def load(): ...\n",
    )
    _install(site, "mlx-audio", "0.6.2", "pkg-a>=1", "pkg-b; extra == 'tts'")
    _install(site, "pkg-a", "1.2", "deep")
    return site


def _look(site: Path, model: str) -> WorkingMemory:
    _write(site, mlx_audio__tts__models__fam__model=model)
    memory = WorkingMemory()
    directory = imported_directory([str(site)])
    assert directory == site / "mlx_audio"
    needs = dependencies.read_needs(directory, "tts", "fam")
    around = Surroundings({**_LINUX, "path": [str(site)]}, {"directory": str(directory), "version": "0.6.2"})
    dependencies.collect(memory, needs.needs, around)
    return memory


def _needs(memory: WorkingMemory) -> dict[str, tuple[object, ...]]:
    return {str(f["package"]): (f["present"], f["when"], f["guarded"], f["declared"]) for f in memory.of("import_need")}


def test_of_the_extras_that_bring_a_package_that_of_the_category_counts(site: Path) -> None:
    _install(site, "of-extras", "0.7.0", *(f"pkg-b; extra == '{extra}'" for extra in ("all", "stt", "tts")))
    own = Installed([str(site)]).get("of-extras")
    assert own is not None
    assert [extras(own, category)["pkg-b"] for category in ("tts", "stt", "vad", None)] == ["tts", "stt", "stt", "stt"]


def test_who_declares_what_is_imported(site: Path) -> None:
    _install(site, "other-name", "2", top="lone")
    _write(site, lone__init="", deep="")
    memory = _look(site, "import pkg_b, lone, deep, absent, os, mlx_audio.utils\nclass Model: ...\n")
    assert _needs(memory) == {
        "pkg-a": (True, "import", False, "required"),
        "deep": (True, "import", False, "chain"),
        "pkg-b": (False, "import", False, "extra"),
        "other-name": (True, "import", False, "nobody"),
        "absent": (False, "import", False, "nobody"),
    }
    deep, extra = memory.one("import_need", package="deep"), memory.one("import_need", package="pkg-b")
    assert deep is not None and deep["chain"] == "mlx-audio > pkg-a > deep"
    assert extra is not None and (extra["extra"], extra["importer_line"]) == ("tts", 1)


def test_when_an_import_runs(site: Path) -> None:
    memory = _look(
        site,
        """
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            import never
        try:
            import caught
        except ImportError:
            caught = None
        try:
            import said
        except ImportError as error:
            raise ImportError("install said") from error
        try:
            import passes_on
        except OSError:
            pass
        import sys
        if sys.platform == "darwin":
            import only_there

        def _helper():
            import in_use
        def convert():
            import converter
        def _lazily(name):
            import importlib
            return importlib.import_module(name)
        class Model:
            def generate(self):
                _helper()
                _lazily("by_name.part")
                if self.x:
                    import sometimes
                from .lazy import later
        """,
    )
    # ``lazy`` is not there yet: nothing to follow.
    assert {name: need[1:3] for name, need in _needs(memory).items() if name != "pkg-a"} == {
        "caught": ("import", True),
        "said": ("import", False),
        "passes-on": ("import", False),
        "only-there": ("import", True),
        "in-use": ("use", False),
        "converter": ("call", False),
        "by-name": ("use", False),
        "sometimes": ("use", True),
    }


def test_modules_that_are_imported_later_bring_theirs_later(site: Path) -> None:
    _write(site, mlx_audio__tts__models__fam__lazy="import behind\n")
    model = "class Model:\n    def generate(self):\n        from .lazy import later\n"
    assert _needs(_look(site, model))["behind"] == (False, "use", False, "nobody")


def test_what_an_undeclared_package_imports_counts_and_of_a_declared_one_does_not(site: Path) -> None:
    _write(site, pkg_a__core="import unseen\ndef load(): ...\n", misaki__init="", misaki__en="import spacy\n")
    needs = _needs(_look(site, "class Model:\n    def generate(self):\n        from misaki.en import G2P\n"))
    assert needs["spacy"] == (False, "use", False, "nobody") and "unseen" not in needs


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("from pkg_a import load", None),
        ("from pkg_a import gone", ("pkg_a", "gone")),
        ("from pkg_a.core import gone", ("pkg_a.core", "gone")),
        ("from pkg_a import core", None),
        ("import pkg_a.missing.deeper", ("pkg_a", "missing")),
        ("from lazy_one import anything", None),
        ("from lazy_two import anything", None),
        ("from starred import gone", None),  # from a compiled module: cannot tell
        ("from stubbed import known", None),
        ("from stubbed import gone", ("stubbed", "gone")),
        ("from bound import a, b, c, d, e, f", None),
        ("from broken import anything", None),
        ("import space.inner", None),
        ("from zipped import anything", None),
        ("try:\n    from pkg_a import gone\nexcept ImportError:\n    pass", ("pkg_a", "gone")),
    ],
)
def test_names_that_the_installed_version_lacks(
    site: Path, tmp_path: Path, statement: str, absent: tuple[str, str] | None
) -> None:
    _write(
        site,
        lazy_one="def __getattr__(name): ...\n",
        lazy_two="import sys\nsys.modules[__name__] = object()\n",
        starred="from compiled import *\n",
        broken="def (:\n",
        bound="""
            import x.y as a
            b: int = 1
            (c, [d]) = 1, [2]
            try:
                e = 1
            except Exception:
                def e(): ...
            with open("x") as f: ...
        """,
        space__inner="",
    )
    for name in ("compiled", "stubbed"):
        (site / f"{name}.cpython-311-darwin.so").touch()
    (site / "stubbed.pyi").write_text("def known() -> None: ...\n")
    memory = _look(site, statement + "\nclass Model: ...\n")
    assert [(f["module"], f["name"]) for f in memory.of("absent_name")] == ([absent] if absent else [])
    assert [f["guarded"] for f in memory.of("absent_name")] == ([statement.startswith("try")] if absent else [])


def test_names_that_are_taken_by_attribute(site: Path) -> None:
    memory = _look(
        site,
        """
        import pkg_a as a
        import pkg_a.core
        @a.gone_decorator
        def f(x=a.load): ...
        class Model(a.Gone):
            def generate(self, y: a.gone_annotation = None):
                a.gone_later
                a.asked if hasattr(a, "asked") else None
                a.made = 1
                if a.core:
                    a.only_then
                def inner(): a.gone_inside
        try:
            a.gone_guarded
        except AttributeError: ...
        """,
    )
    assert {(f["name"], f["when"], f["attribute"], f["guarded"]) for f in memory.of("absent_name")} == {
        ("gone_decorator", "import", True, False),
        ("Gone", "import", True, False),
        ("gone_later", "use", True, False),
        ("gone_inside", "use", True, False),
    }


def test_editable_installations_and_archives_are_found(site: Path, tmp_path: Path) -> None:
    import zipfile

    (tmp_path / "checkout" / "linked").mkdir(parents=True)
    (tmp_path / "checkout" / "linked" / "__init__.py").touch()
    mapping = {"linked": str(tmp_path / "checkout" / "linked")}
    (site / "__editable___linked_1_0_finder.py").write_text(
        f"MAPPING: dict[str, str] = {mapping!r}\nNAMESPACES = {{}}\n"
    )
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.writestr("zipped/__init__.py", "")
    _write(site, mlx_audio__tts__models__fam__model="import linked, zipped\n")
    around = Surroundings({**_LINUX, "path": [str(site), str(tmp_path / "more.zip")]}, None)
    memory = WorkingMemory()
    dependencies.collect(memory, dependencies.read_needs(site / "mlx_audio", "tts", "fam").needs, around)
    assert {f["package"]: f["present"] for f in memory.of("import_need")} == {
        "pkg-a": True,
        "linked": True,
        "zipped": True,
    }


def test_the_familys_own_files_alone(site: Path) -> None:
    _write(
        site,
        mlx_audio__tts__models__fam__part="import of_a_part\n",
        mlx_audio__tts__models__other__init="import of_another\n",
    )
    _look(site, "import own\nfrom . import part\nfrom mlx_audio.tts.models.other import x\nclass Model: ...\n")
    few = dependencies.read_needs(site / "mlx_audio", "tts", "fam", whole=False)
    assert {need.top for need in few.needs} == {"own", "of_a_part"} and not few.whole
    every = dependencies.read_needs(site / "mlx_audio", "tts", "fam")
    assert {need.top for need in every.needs} == {"own", "of_a_part", "of_another", "pkg_a"}


def test_the_loader_alone_where_the_family_is_not_known(site: Path) -> None:
    needs = dependencies.read_needs(site / "mlx_audio", "tts", None)
    assert [need.statement.module for need in needs.needs] == ["pkg_a"]
    assert dependencies.read_needs(site / "mlx_audio", "tts", "nosuch").needs


def test_the_installed_release() -> None:
    hello = greeting(sys.executable)
    directory = imported_directory(hello["path"])
    assert directory is not None
    around = Surroundings(hello, {"directory": str(directory), "version": None})
    memory = WorkingMemory()
    dependencies.collect(memory, dependencies.read_needs(directory, "tts", "kokoro").needs, around)
    found = {f["package"]: (f["when"], f["present"]) for f in memory.of("import_need")}
    assert found["mlx"] == ("import", True) and found["misaki"][0] == "use"
    for family, package in (("pocket_tts", "requests"), ("spark", "soxr")):
        memory = WorkingMemory()
        dependencies.collect(memory, dependencies.read_needs(directory, "tts", family).needs, around)
        need = memory.one("import_need", package=package)
        assert need is not None and (need["when"], need["guarded"]) == ("import", False)
        assert not memory.of("absent_name", guarded=False, when="import")
