"""A stored tensor that sanitize looked for in vain among the parameters of the model.

Some ``sanitize`` compare each tensor with the parameter of its name before names are compared as a whole
(``value.shape != parameters[key].shape``), so one that the model has no place for ends in a ``KeyError`` of its
name, though it is there.
"""

from __future__ import annotations

from mlx_diagnose.collectors.exception_docs import ExceptionDoc
from mlx_diagnose.collectors.tensors import TensorTable
from mlx_diagnose.collectors.text import clean
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.model import Provenance


def unplaced(stored: TensorTable, raised: ExceptionDoc) -> str | None:
    """The tensor of ``stored`` whose name ``raised`` says, but for what sanitize puts before it or takes away."""
    key = raised.attribute("key") or raised.message.strip().strip("\"'")
    if not raised.is_a("KeyError") or "." not in key:
        return None
    if key in stored:
        return key
    named = [name for name in stored if name.endswith(f".{key}") or ("." in name and key.endswith(f".{name}"))]
    return named[0] if len(named) == 1 else None


def collect(memory: WorkingMemory, stored: TensorTable, raised: ExceptionDoc) -> None:
    """Assert an unplaced_tensor for what sanitize raised a KeyError of, if the checkpoint has it."""
    name = unplaced(stored, raised)
    frame = raised.innermost
    if name is None or frame is None:
        return
    owner = name.rpartition(".")[0]
    memory.add(
        "unplaced_tensor",
        Provenance("unplaced_tensors", path=clean(name)),
        name=clean(name),
        beside=sum(other.rpartition(".")[0] == owner for other in stored) - 1,
        file=frame.file,
        line=frame.line,
    )
