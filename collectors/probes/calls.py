"""The calls that make a model, as a tree: every initialiser, loader and hook, what it was given and what it cost.

Repeated calls from one line (the layers of a stack) are one node with a count, so the tree of a
model of any size is as small as its code. Seconds and memory of a node include what it calls.
"""

from __future__ import annotations

import re
from time import perf_counter
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional, Tuple

from mlx_diagnose.collectors.probes import memory
from mlx_diagnose.collectors.probes.arguments import Arguments, Given, type_name
from mlx_diagnose.collectors.probes.events import Listener
from mlx_diagnose.collectors.probes.identity import identity
from mlx_diagnose.collectors.probes.places import Places

#: Nodes that are reported at most; those that took least are left out.
MAX_CALLS = 300
#: Nodes that are kept while the load runs.
_MAX_NODES = 20_000
#: Calls of a node whose objects are looked up in what made them.
_MAX_PLACED = 512

_MODELS = re.compile(r"[/\\]mlx_audio[/\\](?:\w+[/\\]models|codec|lm)[/\\]|[/\\]mlx_(?:lm|vlm)[/\\]")
_MODULES = re.compile(r"^mlx_(?:audio\.(?:\w+\.models|codec|lm)|lm|vlm)\.")
_STEPS = re.compile(
    r"^(?:__init__|__post_init__|from_\w+|prepare_model_path|\w*_hook"
    r"|_?(?:sanitize|load|init|build|create|setup|quantize)(?:_\w+)?)$"
)
#: Functions of other packages that are steps of a load.
_FOREIGN = {
    "transformers": {"from_pretrained"},
    "huggingface_hub": {"snapshot_download", "hf_hub_download"},
    "mlx": {"quantize", "load_weights"},
}
_FOREIGN_NAMES = frozenset(name for names in _FOREIGN.values() for name in names)


class _Node:
    __slots__ = (
        "arguments",
        "calls",
        "caught",
        "children",
        "file",
        "given",
        "growth",
        "initialiser",
        "line",
        "longest",
        "made",
        "memory",
        "module",
        "name",
        "number",
        "objects",
        "parent",
        "places",
        "raised",
        "seconds",
        "sites",
        "stage",
    )

    def __init__(self, number: int, parent: Optional[_Node], stage: Optional[str]) -> None:
        self.number, self.parent, self.stage = number, parent, stage
        #: What it calls, by function and line; and by function and place in the caller's code.
        self.children: Dict[Tuple[int, int], _Node] = {}
        self.sites: Dict[Optional[Tuple[int, int, int]], _Node] = {}
        self.calls, self.seconds, self.longest, self.raised = 0, 0.0, 0.0, 0
        #: Readings before the first call and after the last one; growth over all of them.
        self.memory: List[Any] = [None, None]
        self.growth = [0, 0]
        #: Tensors, parameters (elements) and bytes of the objects that were made.
        self.made = [0, 0, 0]
        self.given: Optional[Given] = None
        self.arguments: Optional[List[Dict[str, Any]]] = None
        self.objects: List[int] = []
        self.places: Optional[str] = None
        self.name = self.module = self.file = ""
        self.line, self.initialiser = 0, False


class CallTree(Listener):
    """Records while it is told of calls; :meth:`report` gives the nodes, outermost first."""

    def __init__(self, stage: Callable[[], Optional[str]], arguments: Arguments) -> None:
        self._stage = stage
        self._arguments = arguments
        self._places = Places()
        self._read = memory.reader()
        self._root = _Node(-1, None, None)
        self._stack: List[Tuple[_Node, Any, float, memory.Reading]] = []
        self._count = 0

    # -- listening ---------------------------------------------------------------------------

    def may_want(self, code: Any) -> bool:
        name = code.co_name
        return name in _FOREIGN_NAMES or _STEPS.match(name) is not None

    def wants(self, frame: Any) -> bool:
        code = frame.f_code
        name, file = code.co_name, code.co_filename
        steps = _STEPS.match(name) is not None
        if steps and _MODELS.search(file):
            return True
        module = str(frame.f_globals.get("__name__", ""))
        if steps and file == "<string>" and _MODULES.match(module):
            return True
        foreign = _FOREIGN.get(module.partition(".")[0])
        return foreign is not None and name in foreign

    def entered(self, frame: Any) -> None:
        began = perf_counter()
        stack, caller = self._stack, frame.f_back
        parent = stack[-1][0] if stack else self._root
        # Where in the caller's code the call stands is at hand; its line takes a search of the function's table.
        site = (identity(frame.f_code), identity(caller.f_code), caller.f_lasti) if caller is not None else None
        node = parent.sites.get(site)
        reading = self._read(began)
        if node is None:
            node = self._node(frame, parent, caller.f_lineno if caller is not None else 0)
            if node is None:
                return
            parent.sites[site] = node
            if node.memory[0] is None:
                node.memory[0] = reading
        node.calls += 1
        stack.append((node, frame, began, reading))

    def _node(self, frame: Any, parent: _Node, line: int) -> Optional[_Node]:
        """The node of a call from a place that was not seen: one of that line, or a new one while there is room."""
        key = (identity(frame.f_code), line)
        node = parent.children.get(key)
        if node is None and self._count < _MAX_NODES:
            node = parent.children[key] = self._begun(frame, parent)
        return node

    def _begun(self, frame: Any, parent: _Node) -> _Node:
        node = _Node(self._count, parent, self._stage() or parent.stage)
        self._count += 1
        code = frame.f_code
        node.name = name = getattr(code, "co_qualname", code.co_name)
        if "<locals>" in name or "." not in name:
            owner = _owner(frame)
            if owner is not None:
                node.name = "%s.%s" % (owner, code.co_name)
        node.module = str(frame.f_globals.get("__name__", ""))
        node.file, node.line, node.initialiser = code.co_filename, code.co_firstlineno, code.co_name == "__init__"
        node.given = self._arguments.of(frame)
        return node

    def left(self, frame: Any, raised: bool) -> None:
        stack = self._stack
        position = len(stack) - 1
        while position >= 0 and stack[position][1] is not frame:
            position -= 1
        if position < 0:
            return
        node, _, began, before = stack[position]
        del stack[position:]
        if raised:
            node.raised += 1
        elif node.initialiser or node.children:
            self._finished(node, frame)
        ended = perf_counter()
        node.memory[1] = after = self._read(ended)
        growth = node.growth
        if before[0] is not None and after[0] is not None:
            growth[0] += after[0] - before[0]
        if before[1] is not None and after[1] is not None:
            growth[1] += after[1] - before[1]
        took = ended - began
        node.seconds += took
        if took > node.longest:
            node.longest = took

    def returned(self, code: Any) -> None:
        for _, frame, _, _ in reversed(self._stack):
            if frame.f_code is code:
                self.left(frame, False)
                return

    def _finished(self, node: _Node, frame: Any) -> None:
        """A step is done: what the object that it made holds, and which names those made on the way got in it."""
        made = _first(frame)
        if made is None:
            return
        if node.initialiser:
            total, counted = node.made, self._places.measure(made)
            for index in (0, 1, 2):
                total[index] += counted[index]
            if self._arguments.records(made):
                self._arguments.made(self._described(node), made, frame.f_back)
            elif len(node.objects) < _MAX_PLACED:
                node.objects.append(identity(made))
        if node.children:
            self._name(node.children.values(), made)

    def _name(self, children: Iterable[_Node], made: Any) -> None:
        """Where in ``made`` the objects of ``children`` stand; they are not looked for any more."""
        unplaced = [child for child in children if child.objects and child.places is None]
        # An initialiser that called that of its base class is no part of itself.
        wanted = {key for child in unplaced for key in child.objects if key != identity(made)}
        if wanted:
            names = self._places.names(made, wanted)
            for child in unplaced:
                child.places = self._places.collapsed([names[key] for key in child.objects if key in names])
        for child in children:
            child.objects = []

    def _described(self, node: _Node) -> List[Dict[str, Any]]:
        if node.arguments is None:
            node.arguments = self._arguments.described(node.given) if node.given is not None else []
        return node.arguments

    def current(self) -> Optional[int]:
        return self._stack[-1][0].number if self._stack else None

    def running(self) -> List[int]:
        """Numbers of the calls that run now, innermost first."""
        return [entry[0].number for entry in reversed(self._stack)]

    # -- reporting ---------------------------------------------------------------------------

    def report(self) -> Dict[str, Any]:
        """``{"calls": [...], "omitted": nodes left out}``; ``number`` and ``parent`` tie the nodes together."""
        nodes = list(_preorder(self._root))
        kept = set()
        for node in sorted(nodes, key=lambda node: (not node.raised, -node.seconds))[:MAX_CALLS]:
            ancestor: Optional[_Node] = node
            while ancestor is not None and ancestor.number not in kept:
                kept.add(ancestor.number)
                ancestor = ancestor.parent
        # Numbers are those of the order of first calls; a parent comes before what it calls.
        chosen = [node for node in nodes if node.number in kept][:MAX_CALLS]
        return {
            "calls": [{**_described(node), "arguments": self._described(node)} for node in chosen],
            "omitted": len(nodes) - len(chosen),
        }


def _preorder(node: _Node) -> Iterator[_Node]:
    for child in node.children.values():
        yield child
        yield from _preorder(child)


def _described(node: _Node) -> Dict[str, Any]:
    before, after = node.memory[0] or (None,) * 3, node.memory[1] or (None,) * 3
    return {
        "number": node.number,
        "parent": node.parent.number if node.parent is not None and node.parent.number >= 0 else None,
        "stage": node.stage,
        "name": node.name,
        "module": node.module,
        "place": node.places,
        "file": node.file,
        "line": node.line,
        "calls": node.calls,
        "seconds": round(node.seconds, 6),
        "longest": round(node.longest, 6),
        "resident": [before[0], after[0]],
        "active": [before[1], after[1]],
        "peak": after[2],
        "growth": node.growth,
        "made": node.made,
        "raised": node.raised,
    }


def _first(frame: Any) -> Any:
    """The first argument of the call: the object or the class that a method works on."""
    code = frame.f_code
    if not code.co_argcount:
        return None
    return frame.f_locals.get(code.co_varnames[0])


def _owner(frame: Any) -> Optional[str]:
    code = frame.f_code
    if not code.co_argcount or code.co_varnames[0] not in ("self", "cls"):
        return None
    first = _first(frame)
    return type_name(first) if code.co_varnames[0] == "self" else getattr(first, "__name__", None)
