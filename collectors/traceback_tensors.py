"""The tensors that MLX's own messages name: ``mlx/nn/layers/base.py::Module.load_weights``.

A strict load looks for tensors that are too many, then for those that are missing, then for
shapes, and tells of the first kind it finds; of shapes it names one. So a message about
shapes also says that every name fitted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlx_diagnose.collectors.tensor_layouts import fitting
from mlx_diagnose.collectors.tensor_names import collapse
from mlx_diagnose.collectors.tensors import shape_text
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance

_HERE = "traceback"
_MAX_FACTS = 200
_MOST = 10**9
_LISTS = (
    ("unexpected", re.compile(r"\s*Received (?:(?P<count>\d{1,9}) )?parameters not in model:(?P<names>.*)", re.DOTALL)),
    ("missing", re.compile(r"\s*Missing (?:(?P<count>\d{1,9}) )?parameters:(?P<names>.*)", re.DOTALL)),
)
_SHAPE = re.compile(
    r"\s*Expected shape (?P<expected>\([\d, ]{0,100}\)) but received\s+shape (?P<received>\([\d, ]{0,100}\))"
    r" for parameter\s+(?P<name>[\w.\-]{1,500})"
)
_NAME = re.compile(r"[A-Za-z_][\w\-]*(?:\.[\w\-]+)*")
#: Bits of MLX's quantisations: a row of a packed weight is shorter by 32 divided by them.
_BITS = (2, 3, 4, 5, 6, 8)


@dataclass(frozen=True, slots=True)
class TensorMessage:
    """What a message says: ``status`` is unexpected, missing or shape; ``count`` the tensors it speaks of.

    ``names`` may be fewer, where the text was cut. Shapes are those of the one tensor named.
    """

    status: str
    count: int
    names: tuple[str, ...]
    expected: tuple[int, ...] | None = None
    received: tuple[int, ...] | None = None

    @property
    def scales_only(self) -> bool:
        """Every tensor named is one of those that only quantised layers have."""
        return bool(self.names) and all(name.endswith((".scales", ".biases")) for name in self.names)

    @property
    def bits(self) -> tuple[int | None, int] | None:
        """Bits of the layer in the model (None: it is plain) and of the weight it is given, if the shapes read so.

        A plain layer and a packed weight, or two packings of one square matrix: others cannot be
        told from matrices of other sizes.
        """
        if self.expected is None or self.received is None or not self.names[0].endswith(".weight"):
            return None
        wanted, given = self.expected, self.received
        if len(wanted) != len(given) or len(wanted) < 2 or wanted[:-1] != given[:-1] or not given[-1]:
            return None
        for bits in _BITS:
            if given[-1] * 32 == wanted[-1] * bits:
                return None, bits
        width = wanted[-2]
        packings = {columns: bits for bits in _BITS if (columns := width * bits / 32).is_integer()}
        ours, theirs = packings.get(wanted[-1]), packings.get(given[-1])
        return (ours, theirs) if ours and theirs else None

    @property
    def permutation(self) -> tuple[int, ...] | None:
        """The order of axes that gives the wanted shape, if one does."""
        orders = fitting(self.received, self.expected) if self.received and self.expected else ()
        return orders[0] if orders else None


def tensor_message(message: str) -> TensorMessage | None:
    """What ``message`` says of tensors, None if it is another message."""
    for status, pattern in _LISTS:
        found = pattern.match(message)
        if found:
            count = int(found["count"]) if found["count"] else None
            names = _names(found["names"], count)
            return TensorMessage(status, max(len(names), count or 0), names) if names or count else None
    shape = _SHAPE.match(message)
    if shape is None:
        return None
    return TensorMessage("shape", 1, (shape["name"].rstrip("."),), _axes(shape["expected"]), _axes(shape["received"]))


def collect(memory: WorkingMemory, message: str, stage: str) -> None:
    """Assert tensor_difference, tensor_message and weights_difference for what ``message`` says."""
    told = tensor_message(message)
    if told is None:
        return
    expected = shape_text(told.expected) if told.expected is not None else None
    received = shape_text(told.received) if told.received is not None else None
    groups = collapse((clean(name, 500), None) for name in told.names)
    for group in groups[:_MAX_FACTS]:
        memory.add(
            "tensor_difference",
            Provenance(_HERE, path=group.pattern),
            tensor=group.pattern,
            status=told.status,
            count=group.count,
            expected=expected,
            received=received,
            component=group.example.partition(".")[0],
            suffix=group.example.rpartition(".")[2],
            example=group.example,
        )
    ours, theirs = told.bits or (None, None)
    memory.add(
        "tensor_message",
        Provenance(_HERE),
        stage=stage,
        status=told.status,
        count=told.count,
        tensor=groups[0].pattern if groups else "",
        expected=expected,
        received=received,
        permutation=str(told.permutation) if told.permutation is not None else None,
        scales_only=told.scales_only,
        model_bits=ours,
        given_bits=theirs,
    )
    memory.add(
        "weights_difference",
        Provenance(_HERE),
        missing=told.count if told.status == "missing" else 0,
        unexpected=told.count if told.status == "unexpected" else 0,
        shape=told.count if told.status == "shape" else 0,
        matched=0,
        strict=True,
        raised=True,
        quantized_suffixes_only=told.scales_only,
        single=False,
        only=told.status,
        omitted=max(0, len(groups) - _MAX_FACTS),
    )


def _names(text: str, count: int | None) -> tuple[str, ...]:
    """The names at the beginning of ``text``, as far as they look like names, each once."""
    names: dict[str, None] = {}
    for word in re.split(r"[,\s]+", text):
        name = word.strip("`'\"").rstrip(".")
        if not name or set(name) <= {"…", "[", "]", "(", ")"}:
            continue
        if not _NAME.fullmatch(name) or (count is not None and len(names) == count):
            break
        names[name] = None
    return tuple(names)


def _axes(shape: str) -> tuple[int, ...]:
    return tuple(min(int(axis[:12]), _MOST) for axis in re.findall(r"\d+", shape))
