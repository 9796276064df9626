"""Marks the ten stages of the loader inside one run of the patient's own load function.

The functions that the loader calls are wrapped; a stage is the outermost step that was running
when an exception left it. What the installed release has is detected, not listed: a wrapper is
put wherever a known name is found (``mlx_audio/utils.py`` since 0.2.10, ``mlx_audio/tts/utils.py``
before that), and the classes of the model are wrapped when the loader has imported them.
"""

from __future__ import annotations

import functools
import re
import sys
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Callable, Dict, Iterator, List, Optional

STAGES = (
    "resolve",
    "config",
    "architecture",
    "import",
    "construct",
    "weights",
    "sanitize",
    "quantize",
    "load",
    "post_load",
)

#: Names of loader functions, old and new, and the stage that they are.
LOADER_STEPS = {
    "get_model_path": "resolve",
    "load_config": "config",
    "get_model_class": "architecture",
    "get_model_and_args": "architecture",
    "load_weights": "weights",
    "apply_quantization": "quantize",
}

_WEIGHTS_TEXT = re.compile(r"safetensors|\bnpz\b|weight", re.IGNORECASE)


class Ended(BaseException):
    """A probe has seen what it wanted of a load and ends it; no outcome of the model's.

    Not an ``Exception``, so that a model's own ``except Exception`` cannot go on from it.
    """


def peak_memory() -> Optional[int]:
    """Peak resident bytes of this process so far, or None where the platform does not tell."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak) if sys.platform == "darwin" else int(peak) * 1024


class StageClock:
    """Knows which stage runs, how long each took, and which one an exception left."""

    def __init__(self, report: Callable[[str, str, float, Optional[int]], None]) -> None:
        self._report = report
        self.reset()

    def reset(self) -> None:
        """Forget an earlier run of the loader."""
        self.active: Optional[str] = None
        self.failed: Optional[str] = None
        self.entered: List[str] = []
        self.seconds: Dict[str, float] = {}
        self._since = 0.0

    @contextmanager
    def step(self, stage: str) -> Iterator[None]:
        """Run a step of ``stage``, unless another stage is already running: the outermost counts."""
        if self.active is not None:
            yield
            return
        self._begin(stage)
        try:
            yield
        except BaseException:
            self.failed = self.active
            self._end("failed")
            raise
        self._end("passed")

    def advance(self, stage: str) -> None:
        """Inside a running step, the next stage begins (importing the family, inside resolution)."""
        self._end("passed")
        self._begin(stage)

    def _begin(self, stage: str) -> None:
        self.active = stage
        self.failed = None
        self._since = perf_counter()
        if stage not in self.entered:
            self.entered.append(stage)
        self._report(stage, "running", self.seconds.get(stage, 0.0), None)

    def _end(self, status: str) -> None:
        stage = self.active
        assert stage is not None
        self.active = None
        total = self.seconds.get(stage, 0.0) + perf_counter() - self._since
        self.seconds[stage] = total
        self._report(stage, status, total, peak_memory())

    def blame(self, error: BaseException) -> str:
        """The stage that ``error`` ended: the step it left, or the one that was about to begin."""
        if self.failed is not None:
            return self.failed
        if isinstance(error, FileNotFoundError) and "weights" not in self.entered and _WEIGHTS_TEXT.search(str(error)):
            return "weights"
        furthest = max((STAGES.index(stage) for stage in self.entered), default=-1)
        return STAGES[min(furthest + 1, len(STAGES) - 1)]


def wrap(clock: StageClock, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
    """``function`` as a step of ``stage``."""

    @functools.wraps(function)
    def step(*args: Any, **kwargs: Any) -> Any:
        with clock.step(stage):
            return function(*args, **kwargs)

    return step


def wrap_attribute(owner: Any, name: str, around: Callable[[Callable[..., Any]], Callable[..., Any]]) -> bool:
    """Replace a function of a class or module by ``around(function)``, keeping its kind of method.

    Returns whether it was there to be wrapped; a class that refuses is left alone.
    """
    raw = None
    for base in getattr(owner, "__mro__", (owner,)):
        raw = vars(base).get(name)
        if raw is not None:
            break
    if raw is None:
        return False
    try:
        if isinstance(raw, staticmethod):
            setattr(owner, name, staticmethod(around(raw.__func__)))
        elif isinstance(raw, classmethod):
            setattr(owner, name, classmethod(around(raw.__func__)))
        elif callable(raw):
            setattr(owner, name, around(raw))
        else:
            return False
    except (AttributeError, TypeError):
        return False
    return True
