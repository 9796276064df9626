"""The calls that make a model, as a tree: every initialiser, loader and hook, what it was given and what it cost.

Repeated calls from one line (the layers of a stack) are one node with a count, so the tree of a
model of any size is as small as its code. Seconds and memory of a node include what it calls.
"""

from __future__ import annotations

import re
from time import perf_counter
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

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
    """A call, or several of one function from one line.

    Nothing but numbers and what is there anyway, as far as that goes: each container more is one
    that the garbage collector walks while the model is made.
    """

    __slots__ = (
        "active",
        "after",
        "arguments",
        "before",
        "bytes",
        "calls",
        "children",
        "code",
        "elements",
        "given",
        "initialiser",
        "latest",
        "latest_at",
        "longest",
        "module",
        "number",
        "objects",
        "owner",
        "parent",
        "places",
        "raised",
        "resident",
        "seconds",
        "stage",
        "tensors",
    )

    def __init__(self, number: int, parent: Optional[_Node], stage: Optional[str], code: Any, module: Any) -> None:
        self.number, self.parent, self.stage, self.code, self.module = number, parent, stage, code, module
        #: The class that the function works on, where its own name does not tell.
        self.owner: Optional[str] = None
        self.children: Optional[List[_Node]] = None
        self.initialiser = bool(code) and code.co_name == "__init__"
        #: The node that was called last, and where in the code of this one.
        self.latest: Optional[_Node] = None
        self.latest_at = -1
        self.calls, self.seconds, self.longest, self.raised = 0, 0.0, 0.0, 0
        #: Readings before the first call and after the last one.
        self.before: Optional[memory.Reading] = None
        self.after: Optional[memory.Reading] = None
        #: Growth of the resident and the active memory over all calls, in bytes.
        self.resident = self.active = 0
        #: Tensors, parameters (elements) and bytes of the objects that were made.
        self.tensors = self.elements = self.bytes = 0
        self.given: Optional[Given] = None
        self.arguments: Optional[List[Dict[str, Any]]] = None
        #: The objects that were made, while it is not known where they stand in what made them; then their names.
        self.objects: Optional[List[int]] = None
        self.places: Optional[List[str]] = None

    @property
    def name(self) -> str:
        if self.owner is not None:
            return "%s.%s" % (self.owner, self.code.co_name)
        return str(getattr(self.code, "co_qualname", self.code.co_name))


class CallTree(Listener):
    """Records while it is told of calls; :meth:`report` gives the nodes, outermost first."""

    def __init__(self, stage: Callable[[], Optional[str]], arguments: Arguments) -> None:
        self._stage = stage
        self._arguments = arguments
        self._places = Places()
        self._read = memory.reader()
        self._root = _Node(-1, None, None, None, None)
        #: Nodes by the calling node's number, the function, and the line; or the place in that node's own code.
        self._lines: Dict[Tuple[int, int, int], _Node] = {}
        self._sites: Dict[Tuple[int, int, int], _Node] = {}
        #: The calls that run now, outermost first: the node, the frame, when it began, and the memory then.
        self._stack: List[Tuple[_Node, Any, float, memory.Reading]] = []
        self._outside = (self._root, None, 0.0, (None, None, None))
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

    def entered(self, frame: Any, code: Any) -> None:
        began = perf_counter()
        stack, caller = self._stack, frame.f_back
        parent, calling, _, _ = stack[-1] if stack else self._outside
        node: Optional[_Node]
        if caller is calling and caller is not None:
            # Where in the caller's code the call stands is at hand; its line takes a search of the function's table.
            place, node = caller.f_lasti, parent.latest
            if node is None or parent.latest_at != place or node.code is not code:
                node = self._at(frame, code, parent, caller, place)
        else:
            node = self._on_line(frame, code, parent, caller.f_lineno if caller is not None else 0)
        if node is None:
            return
        reading = self._read(began)
        if not node.calls:
            node.before = reading
        node.calls += 1
        stack.append((node, frame, began, reading))

    def _at(self, frame: Any, code: Any, parent: _Node, caller: Any, place: int) -> Optional[_Node]:
        """The node of the calls from a place in the caller's code, which is remembered: loops call from one."""
        site = (parent.number, identity(code), place)
        node = self._sites.get(site)
        if node is None:
            node = self._on_line(frame, code, parent, caller.f_lineno)
            if node is None:
                return None
            self._sites[site] = node
        parent.latest, parent.latest_at = node, place
        return node

    def _on_line(self, frame: Any, code: Any, parent: _Node, line: int) -> Optional[_Node]:
        """The node of the calls from a line: the one there is, or a new one while there is room."""
        key = (parent.number, identity(code), line)
        node = self._lines.get(key)
        if node is None and self._count < _MAX_NODES:
            node = self._lines[key] = self._begun(frame, code, parent)
        return node

    def _begun(self, frame: Any, code: Any, parent: _Node) -> _Node:
        module = frame.f_globals.get("__name__")
        node = _Node(self._count, parent, self._stage() or parent.stage, code, module)
        self._count += 1
        if parent.children is None:
            parent.children = []
        parent.children.append(node)
        name = getattr(code, "co_qualname", "")
        if "." not in name or "<locals>" in name:
            node.owner = _owner(frame, code)
        node.given = self._arguments.of(frame, code)
        return node

    def left(self, frame: Any, raised: bool) -> None:
        stack = self._stack
        for position in range(len(stack) - 1, -1, -1):
            if stack[position][1] is frame:
                del stack[position + 1 :]
                self._left(raised)
                return

    def returned(self, code: Any) -> None:
        stack = self._stack
        if stack and stack[-1][0].code is code:
            self._left(False)
            return
        for position in range(len(stack) - 2, -1, -1):
            if stack[position][0].code is code:
                del stack[position + 1 :]
                self._left(False)
                return

    def _left(self, raised: bool) -> None:
        """The innermost call that is known ends."""
        node, frame, began, before = self._stack.pop()
        if raised:
            node.raised += 1
        elif node.initialiser or node.children is not None:
            self._finished(node, frame)
        ended = perf_counter()
        node.after = after = self._read(ended)
        if before[0] is not None and after[0] is not None:
            node.resident += after[0] - before[0]
        if before[1] is not None and after[1] is not None:
            node.active += after[1] - before[1]
        took = ended - began
        node.seconds += took
        if took > node.longest:
            node.longest = took

    def _finished(self, node: _Node, frame: Any) -> None:
        """A step is done: what the object that it made holds, and which names those made on the way got in it."""
        made = _first(frame, node.code)
        if made is None:
            return
        if node.initialiser:
            tensors, elements, size = self._places.measure(made)
            node.tensors, node.elements, node.bytes = (
                node.tensors + tensors,
                node.elements + elements,
                node.bytes + size,
            )
            if self._arguments.records(made):
                self._arguments.made(self._described(node), made, frame.f_back)
            elif node.objects is None:
                node.objects = [identity(made)]
            elif len(node.objects) < _MAX_PLACED:
                node.objects.append(identity(made))
        if node.children is not None:
            self._name(node.children, made)

    def _name(self, children: List[_Node], made: Any) -> None:
        """Where in ``made`` the objects of ``children`` stand; they are not looked for any more."""
        unplaced = [child for child in children if child.objects is not None and child.places is None]
        # An initialiser that called that of its base class is no part of itself.
        wanted = {key for child in unplaced for key in child.objects or () if key != identity(made)}
        if wanted:
            names = self._places.names(made, wanted)
            for child in unplaced:
                child.places = [names[key] for key in child.objects or () if key in names]
        for child in children:
            child.objects = None

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
    for child in node.children or ():
        yield child
        yield from _preorder(child)


def _described(node: _Node) -> Dict[str, Any]:
    before, after = node.before or (None,) * 3, node.after or (None,) * 3
    return {
        "number": node.number,
        "parent": node.parent.number if node.parent is not None and node.parent.number >= 0 else None,
        "stage": node.stage,
        "name": node.name,
        "module": str(node.module or ""),
        "place": Places.collapsed(node.places or ()),
        "file": node.code.co_filename,
        "line": node.code.co_firstlineno,
        "calls": node.calls,
        "seconds": round(node.seconds, 6),
        "longest": round(node.longest, 6),
        "resident": [before[0], after[0]],
        "active": [before[1], after[1]],
        "peak": after[2],
        "growth": [node.resident, node.active],
        "made": [node.tensors, node.elements, node.bytes],
        "raised": node.raised,
    }


def _first(frame: Any, code: Any) -> Any:
    """The first argument of the call: the object or the class that a method works on."""
    if not code.co_argcount:
        return None
    return frame.f_locals.get(code.co_varnames[0])


def _owner(frame: Any, code: Any) -> Optional[str]:
    if not code.co_argcount or code.co_varnames[0] not in ("self", "cls"):
        return None
    first = _first(frame, code)
    return type_name(first) if code.co_varnames[0] == "self" else getattr(first, "__name__", None)
