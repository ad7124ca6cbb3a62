"""vLLM's rendezvous on the loopback alone: Python executes this in each of its processes.

vLLM's processes meet in a TCPStore of torch, a table of keys and values without any password. It
listens on all addresses of the machine, whatever host it is told, unless it is given a socket that
listens already; this gives it one that is bound to the host it was told.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import socket
import sys
from types import ModuleType
from typing import Any

RENDEZVOUS = "torch.distributed.rendezvous"


class _Bound(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads torch's module as ever, then puts a store that is bound in the place of its own."""

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        """The module's own place, to be loaded through this class."""
        if name != RENDEZVOUS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.loader is not None:
            self._loader, spec.loader = spec.loader, self
        return spec

    def create_module(self, spec: Any) -> Any:
        """As its own loader does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """As its own loader does; then its store is replaced."""
        self._loader.exec_module(module)
        store = vars(module)["TCPStore"]

        def bound(host_name: str, port: int, *, is_master: bool = False, **more: Any) -> Any:
            if is_master:
                family = socket.AF_INET6 if ":" in host_name else socket.AF_INET
                listener = socket.create_server((host_name, port), family=family, backlog=1024)
                port = listener.getsockname()[1]
                more["master_listen_fd"] = listener.detach()
            return store(host_name, port, is_master=is_master, **more)

        vars(module)["TCPStore"] = bound


sys.meta_path.insert(0, _Bound())
