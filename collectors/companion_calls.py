"""Calls for :mod:`companion_flow`: what fetches a repository, what opens a file, and what is followed."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

from mlx_diagnose.collectors.companion_expressions import Expressions, below, key_of, name_of
from mlx_diagnose.collectors.companion_values import Key, Place, Section, Text, Thing, Value, join, of_kind
from mlx_diagnose.collectors.source_world import Class, Function, Module

#: Functions that fetch a repository, and the name of the argument that names it.
_FETCHES = {
    "snapshot_download": "repo_id",
    "hf_hub_download": "repo_id",
    "cached_download": "repo_id",
    "get_model_path": "path_or_hf_repo",
    "fetch_from_hub": "model_path",
    "load_model": "model_path",
}
#: Methods of classes of other packages that fetch.
_METHODS = ("from_pretrained", "from_hparams", "from_hub")
#: Calls whose result is their argument, as far as places are concerned.
_SAME = frozenset(
    {"str", "Path", "PurePath", "fspath", "expanduser", "resolve", "absolute", "as_posix", "abspath", "realpath"}
    | {"normpath", "eval", "copy", "deepcopy", "expandvars", "cast"}
)
#: Calls that read the file they are given, or whose path they are called on.
_OPENS = re.compile(
    r"^(?:open|_?load\w*|Load|LoadFromFile|from_file|safe_open|_?read\w*|parse|\w+(?:Processor|Tokenizer\w*))$"
)
#: Questions whether a file is there.
TESTS = frozenset({"exists", "is_file", "is_dir", "isfile", "isdir"})


class Calls(Expressions):
    """Expressions with their calls. ``demanding``: a test whether a file is there is the demand that it be."""

    demanding = False

    @property
    def name(self) -> str:
        """The qualified name of the function."""
        if self.function is None:
            return "<module>"
        owner = self.function.owner
        return f"{owner.name}.{self.function.node.name}" if owner is not None else self.function.node.name

    def called(self, node: ast.Call) -> Value:
        name = name_of(node.func)
        owner = self.value(node.func.value) if isinstance(node.func, ast.Attribute) else ()
        positional = [self.value(argument) for argument in node.args]
        named = {keyword.arg: self.value(keyword.value) for keyword in node.keywords if keyword.arg is not None}
        for keyword in node.keywords:
            if keyword.arg is None:
                self.value(keyword.value)
        if name in _SAME:
            return join(owner, *positional[:2]) if name != "cast" else join(*positional)
        if name == "join" and len(positional) > 1:
            whole = positional[0]
            for part in positional[1:]:
                whole = self.joined(whole, part)
            return whole
        if name == "joinpath":
            whole = owner
            for part in positional:
                whole = self.joined(whole, part)
            return whole
        if name == "getattr" and len(positional) > 1:
            return self.named_attribute(node, positional)
        if name in ("get", "pop", "setdefault", "getenv"):
            return self.looked_up(owner, name, positional)
        if name in TESTS:
            for place in of_kind(join(owner, *positional), Place):
                self.opened(place, node, tested=not self.demanding)
            return ()
        target = self.target(node, owner)
        if name in _FETCHES and not isinstance(target, Class):
            return self.fetched(node, name, positional, named)
        if isinstance(target, Class):
            return (self.followed(node, lambda: self.flow.construct(target, positional, named)),)
        if isinstance(target, Function):
            bound = target.owner is not None and "staticmethod" not in target.decorators
            given = [self.receiver(target, owner), *positional] if bound else positional
            returned: Value = self.followed(node, lambda: self.flow.call(target, given, named))
            return returned
        if name in _METHODS:
            return self.pretrained(node, positional, named)
        if _OPENS.match(name):
            for place in of_kind(join(owner, *positional, *named.values()), Place):
                self.opened(place, node, tested=False)
        return ()

    def followed(self, node: ast.Call, call: Callable[[], Any]) -> Any:
        """A call into another function; the outermost line of the family is remembered."""
        outermost = not self.flow.trail and self.flow.of_family(self.module)
        if outermost:
            self.flow.trail.append((str(self.module.file), node.lineno))
        try:
            return call()
        finally:
            if outermost:
                self.flow.trail.pop()

    def receiver(self, target: Function, owner: Value) -> Value:
        if "classmethod" in target.decorators:
            return join(*((item.cls,) if isinstance(item, Thing) else (item,) for item in owner))
        me = self.env.get("self", ())
        return owner or me

    def target(self, node: ast.Call, owner: Value) -> object:
        """The class or function that is called, if it is one of those that are followed."""
        if isinstance(node.func, ast.Attribute):
            if isinstance(node.func.value, ast.Call) and name_of(node.func.value.func) == "super":
                mine = self.function.owner if self.function is not None else None
                return mine.method(node.func.attr, after=mine) if mine is not None else None
            for item in owner:
                if isinstance(item, Thing) and item.section is None:
                    return item.cls.method(node.func.attr)
                if isinstance(item, Class):
                    return item.method(node.func.attr)
                if isinstance(item, Module):
                    return self.flow.world.lookup(item, node.func.attr)
            return None
        found = self.value(node.func)
        return found[0] if found and isinstance(found[0], (Class, Function)) else None

    def named_attribute(self, node: ast.Call, positional: Sequence[Value]) -> Value:
        names = of_kind(positional[1], Text)
        default = positional[2] if len(positional) > 2 else ()
        if len(names) != 1 or not isinstance(names[0], Text):
            return default
        attribute = ast.copy_location(ast.Attribute(node.args[0], names[0].text, ast.Load()), node)
        return self.attribute(attribute) or default

    def looked_up(self, owner: Value, name: str, positional: Sequence[Value]) -> Value:
        """``config.get("key", default)``, ``os.environ.get("NAME", default)``."""
        default = positional[1] if len(positional) > 1 else ()
        keys = [item.text for item in positional[0] if isinstance(item, Text)] if positional else []
        found: list[Value] = []
        for item in owner:
            if isinstance(item, (Section, Key)) and len(keys) == 1:
                texts = [text.text for text in default if isinstance(text, Text)]
                found.append(key_of(below(item.path, keys[0]), json.dumps(texts[0]) if texts else None))
        return join(*found) or default

    def fetched(self, node: ast.Call, name: str, positional: Sequence[Value], named: dict[str, Value]) -> Value:
        """A download: the repository is a companion, and its files can be named from here on."""
        source = named.get(_FETCHES[name]) or (positional[0] if positional else ()) or named.get("repo", ())
        item = named.get("filename") or (positional[1] if len(positional) > 1 else ())
        files = [text for text in map(self.text_of, item) if text] if name == "hf_hub_download" else []
        found: list[Value] = []
        for repo in source:
            if isinstance(repo, (Text, Key)):
                self.flow.wish("repo", repo, node, self, tested=False)
                places = [Place(repo, file) for file in files] or [Place(repo)]
                for place in places:
                    if place.inside:
                        self.flow.wish("file", place, node, self, tested=False)
                found.append(tuple(places))
            elif isinstance(repo, Place):
                found.append((repo,))
        return join(*found)

    def pretrained(self, node: ast.Call, positional: Sequence[Value], named: dict[str, Value]) -> Value:
        """``AutoTokenizer.from_pretrained(...)`` and its like of other packages."""
        source = positional[0] if positional else named.get("pretrained_model_name_or_path", ())
        folder = named.get("subfolder", ())
        for item in self.joined(source, folder) or source:
            if isinstance(item, (Text, Key)):
                self.flow.wish("repo", item, node, self, tested=False)
            elif isinstance(item, Place):
                self.flow.wish("file", item.joined(f"<{_reads(node)}>"), node, self, tested=False)
        return ()

    def opened(self, place: object, node: ast.Call, *, tested: bool) -> None:
        assert isinstance(place, Place)
        if place.inside and not place.inside.startswith(("*", "/")) and "*" not in place.inside:
            self.flow.wish("file", place, node, self, tested=tested)


def _reads(node: ast.Call) -> str:
    """What a class of another package reads from a folder, by its name."""
    owner = name_of(node.func.value) if isinstance(node.func, ast.Attribute) else ""
    for word in ("Tokenizer", "FeatureExtractor", "ImageProcessor", "Processor", "Config"):
        if word.lower() in owner.lower():
            return word
    return owner or "files"
