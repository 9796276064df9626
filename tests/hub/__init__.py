"""A Hugging Face hub on loopback: the HTTP API that clients use, on two hosts, with faults.

::

    with HubServer() as hub:
        hub.add(Repository.from_directory("org/model", directory))
        hub.fault("*/config.json", status=503)
        ...                         # a real client under hub.environment(home)
        assert hub.requests_to("cdn")

Weights (LFS files) are redirected to the second host with a signed address, small files to a
relative address that names their commit, as huggingface.co does. Nothing of the client is replaced.
"""

from tests.hub.faults import Fault
from tests.hub.repositories import Content, Repository
from tests.hub.server import HubServer, Request, User

__all__ = ["Content", "Fault", "HubServer", "Repository", "Request", "User"]
