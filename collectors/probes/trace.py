"""The trace of one load: its calls with their arguments and costs, and the files it missed."""

from __future__ import annotations

from typing import Any, Callable, Dict, List, Optional

from mlx_diagnose.collectors.probes import reached
from mlx_diagnose.collectors.probes.arguments import Arguments
from mlx_diagnose.collectors.probes.calls import CallTree
from mlx_diagnose.collectors.probes.lookups import Lookups
from mlx_diagnose.collectors.probes.origins import Origins


class Trace:
    """Records from :meth:`start` to :meth:`stop`; ``calls`` is what has to be told of calls."""

    def __init__(self, stage: Callable[[], Optional[str]]) -> None:
        self._arguments = Arguments()
        self.calls = CallTree(stage, self._arguments)
        self._lookups = Lookups(stage, self.calls.current)

    @property
    def origins(self) -> Optional[Origins]:
        """Where the values of the config are told from; None before it was read."""
        return self._arguments.origins

    def config_read(self, config: Any) -> None:
        """The loader has read config.json: values that come from it can be told from now on."""
        if isinstance(config, dict):
            self._arguments.origins = Origins(config)

    def start(self) -> None:
        """Begin; calls are told by whoever has ``calls``."""
        self._lookups.start()

    def reached_by(self, raised: BaseException) -> List[Dict[str, Any]]:
        """The config values behind the expression that ``raised``."""
        return reached.values(raised, self.origins)

    def stop(self) -> Dict[str, Any]:
        """End; ``{"calls": [...], "omitted": int, "lookups": [...]}``."""
        lookups: List[Dict[str, Any]] = self._lookups.stop()
        return {**self.calls.report(), "lookups": lookups}
