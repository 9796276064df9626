"""The hub beside a model that lies here: files that its snapshot lacks, and other repositories that it wants.

A cached model is diagnosed without network. Only where its load ends for a file that is not there, and
nobody knows whether the snapshot is whole, the hub is asked for the list; what is small is fetched as
the client does it, and the model is loaded again. Companions are asked for where somebody says ``--online``.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mlx_diagnose.collectors.load import LoadRun
from mlx_diagnose.collectors.process import PatientProcess
from mlx_diagnose.collectors.target import Located, cache_directory, is_repo_id, offline_by_user
from mlx_diagnose.engine.memory import WorkingMemory
from mlx_diagnose.engine.options import Options

if TYPE_CHECKING:
    from mlx_diagnose.collectors.hub_client import HubClient
    from mlx_diagnose.collectors.hub_folder import RepositoryFolder
    from mlx_diagnose.collectors.hub_scratch import ScratchCache

#: Seconds that the questions of one kind may take, and repositories that are asked for.
SECONDS = 30.0
MAX_COMPANIONS = 16

#: Exceptions of a file that is not there, by type and by what transformers says of a tokenizer without its files.
_ABSENT = re.compile(
    r"FileNotFoundError|EntryNotFoundError|NotADirectoryError|No such file|instantiate the backend tokenizer"
    r"|Can't load|does not appear to have a file|Unrecognized (model|processing|image processor|feature extractor)"
    r"|[Tt]okenizer|not found",
)


def is_allowed(options: Options, located: Located) -> bool:
    """Whether the hub may be asked beside what lies here: of a hub id unless forbidden, of a directory on demand."""
    if options.offline is not None:
        return not options.offline
    return located.source == "hub" and not offline_by_user()


class Beside:
    """The hub's side of a diagnosis of local files. Nothing is asked, or imported, before it is needed."""

    def __init__(self, options: Options, located: Located, stack: ExitStack, progress: Callable[[str], None]) -> None:
        self._options = options
        self._located = located
        self._stack = stack
        self._progress = progress
        #: The model's folder in the cache as it was found, with the hub's list of its files, where that was asked for.
        self.folder: RepositoryFolder | None = None

    @property
    def network(self) -> Mapping[str, int]:
        """Requests and bytes so far."""
        if "_client" not in self.__dict__:
            return {"requests": 0, "bytes": 0}
        return {"requests": self._client.meter.requests, "bytes": self._client.meter.bytes}

    @cached_property
    def _client(self) -> HubClient:
        from mlx_diagnose.collectors.hub_client import HubClient

        return HubClient(seconds=min(SECONDS, self._options.timeout))

    @cached_property
    def _scratch(self) -> ScratchCache:
        from mlx_diagnose.collectors.hub_scratch import ScratchCache

        root = tempfile.TemporaryDirectory(prefix="diagnose-", ignore_cleanup_errors=True)
        return ScratchCache(Path(self._stack.enter_context(root)), self._client.cache)

    def complete(self, run: LoadRun, process: PatientProcess) -> LoadRun:
        """Fetch small files that the snapshot lacks and load again; ``run`` where there are none."""
        from mlx_diagnose.collectors import hub, hub_folder

        located = self._located
        if located.source != "hub" or located.directory is None or run.loads or process.ending is not None:
            return run
        if not _lacks_a_file(run):
            return run
        folder = hub_folder.read(cache_directory(), located.model, self._options.revision)
        if folder.snapshot is None or (folder.listing is not None and folder.listing.keys() <= folder.files.keys()):
            return run
        self._progress("asking the hub what the snapshot lacks")
        listing, came = hub.complete(self._client, located.model, folder)
        if listing is None or listing.keys() <= folder.files.keys():
            return run
        self.folder = hub_folder.with_listing(folder, listing)
        if not came:
            return run
        process.forget_output()
        self._progress("loading the model lazily, with what its snapshot lacked")
        request = process.request(load=located.load, revision=self._options.revision, traced=self._options.trace)
        return run.successor().take(request)

    def look_ahead(self, memory: WorkingMemory) -> None:
        """Ask for the repositories that the load wants and that are not whole here; headers of them, no weights."""
        from mlx_diagnose.collectors import hub, hub_facts

        wanted = [
            str(fact["name"])
            for fact in memory.of("companion", what="repo")
            if fact["stage"] is not None
            and fact["state"] in ("not-cached", "partial")
            and is_repo_id(str(fact["name"]))
        ]
        for repo in list(dict.fromkeys(wanted))[:MAX_COMPANIONS]:
            if memory.of("hub_response", repo=repo):
                continue
            self._client.extend(SECONDS)
            self._progress(f"asking the hub for {repo}")
            hub_facts.collect(
                memory, hub.examine(self._client, repo, None, self._scratch, role="companion"), self._client
            )


def _lacks_a_file(run: LoadRun) -> bool:
    return any(_ABSENT.search(f"{link['type']}: {link['message']}") for link in [*run.chain, *run.caught])
