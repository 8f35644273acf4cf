"""A Hub of Hugging Face on this machine, for tests over the wire: the standard library alone, nothing touches a disk.

The real client (huggingface_hub, transformers, datasets) talks to it through HF_ENDPOINT. It knows models, data sets
and spaces; private and gated repositories; tokens that read or write; commits, branches and tags; small files and
large ones (LFS, in one piece or several); and it misbehaves on request (`HubServer.faults`). It has no Xet: tests set
HF_HUB_DISABLE_XET, as the client would use it unasked.
"""

from hub_server.accounts import READ_TOKEN, STRANGER_TOKEN, WRITE_TOKEN, Account
from hub_server.faults import Fault
from hub_server.server import HubServer
from hub_server.storage import Repository

__all__ = ["READ_TOKEN", "STRANGER_TOKEN", "WRITE_TOKEN", "Account", "Fault", "HubServer", "Repository"]
