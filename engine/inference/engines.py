"""What an inference engine is to us, and which ones are here."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Protocol

from mlx_diagnose.engine.inference.network import Match, Message, Production
from mlx_diagnose.engine.model import UsageError

DURABLE = "durable"
CLIPS = "clips"
#: In order of preference.
ENGINES = (DURABLE, CLIPS)
_MODULES = {DURABLE: "durable_rules_engine", CLIPS: "clips"}


class EngineFailure(Exception):
    """An engine raised, or answered with an error; the message says what it said."""


class Engine(Protocol):
    """Matches productions over messages.

    ``assert_messages`` may be called several times, blockers (messages of negated alphas)
    in the first call only and first there; it returns the matches that are new. Raises
    :class:`EngineFailure`.
    """

    def assert_messages(self, messages: Sequence[Message]) -> list[Match]: ...


def available_engines() -> tuple[str, ...]:
    """Names of the engines that are installed, the preferred one first. Nothing is imported."""
    return tuple(name for name in ENGINES if find_spec(_MODULES[name]) is not None)


def check_engine(name: str | None) -> None:
    """Raise UsageError if the engine asked for does not exist or is not installed."""
    if name is None or name in available_engines():
        return
    if name not in ENGINES:
        raise UsageError(
            "no-such-engine", f"there is no engine {name!r}", next_step=f"Choose one of: {', '.join(ENGINES)}."
        )
    hint = (
        "Install it with: pip install 'mlx-diagnose[durable]' (Python 3.12 or older)."
        if name == DURABLE
        else "Install clipspy."
    )
    raise UsageError("engine-not-installed", f"the engine {name!r} is not installed here", next_step=hint)


def build_engine(name: str, productions: Sequence[Production]) -> Engine:
    """The engine ``name`` for these productions; raises :class:`EngineFailure`."""
    try:
        if name == DURABLE:
            from mlx_diagnose.engine.inference.durable_engine import DurableEngine

            return DurableEngine(productions)
        from mlx_diagnose.engine.inference.clips_engine import ClipsEngine

        return ClipsEngine(productions)
    except (ImportError, AttributeError, SyntaxError) as error:
        raise EngineFailure(f"{name} does not import: {error}") from error
