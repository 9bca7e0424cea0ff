"""Servers that a test starts by hand, and what they report of themselves."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import SCORING_SERVER
from matrices import with_facts
from patience import wait_for

from stages.contract import Backend, Contract, View
from stages.documents.matrix import Provenance, RemoteServerFacts, RoundTrip
from stages.measure.servers.launched import is_listening
from stages.plan.command_line import attribute

SECRET = "sk-admin-5b1d7c0a2f"


def told_by(made: Contract, backend: Backend, view: View, **changes: Any) -> dict[str, Any]:
    """The reports, by path, of a server that was started as the contract says, with changes."""
    section = made.backends[backend]
    server: dict[str, Any] = {
        "version": "9.8.7",
        "device": section.launch.device,
        "dtype": section.launch.dtype,
        "disable_radix_cache": False,
        "revision": None,
        "tp_size": 1,
        # Real servers report these secrets, too. They may appear nowhere.
        "api_key": SECRET,
        "admin_api_key": SECRET,
        "launch_command": f"serve --api-key {SECRET}",
        "startup_time": time.time(),
        "internal_states": [{"api_key": SECRET}],
    }
    server |= {attribute(name): value for name, value in section.view(view).flags.items()}
    return {
        "/get_server_info": server | changes,
        "/get_model_info": {"model_path": "nowhere", "is_generation": True},
    }


def account(**changes: Any) -> RemoteServerFacts:
    """The facts of a server that is not on the client's machine."""
    fields: dict[str, Any] = {
        "same_machine": False,
        "compiles_hidden": False,
        "model_path": "/models/m",
        "model_check": "none",
        "settings": {"dtype": "float32", "disable_radix_cache": True, "max_total_tokens": None},
        "settings_sha256": "5e" * 32,
    }
    return RemoteServerFacts(**{**fields, **changes})


def at_url(found: Provenance, url: str, told: RemoteServerFacts, round_trip_s: float) -> Provenance:
    """The provenance of the same matrix as if its server had been at ``url``."""
    return with_facts(
        found,
        {
            "contract": found.contract.model_copy(update={"base_url": url}),
            "environment_sha256": None,
            "repaired": None,
            "argv": [],
            "environ": {},
            "shell": None,
            "elsewhere": told,
            "round_trip": RoundTrip(before_s=round_trip_s, after_s=None),
            "foreign_cpu": None,
        },
    )


def _taken() -> socket.socket:
    """A port that stays reserved, but on which a server that reuses addresses can listen."""
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", 0))
    return bound


@dataclass
class ByHand:
    """A scoring server that only the test starts and stops."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None
    _bound: socket.socket = field(default_factory=_taken)

    @property
    def port(self) -> int:
        """The same one at each start, its own also while it is stopped."""
        found: int = self._bound.getsockname()[1]
        return found

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, told: Mapping[str, Any], *arguments: str) -> None:
        """Start it, again on the same port, and wait until it is there."""
        path = self.folder / "infos.json"
        path.write_text(json.dumps(told))
        command = [SCORING_SERVER, "--port", str(self.port), "--infos", str(path), *arguments]
        self.process = subprocess.Popen([sys.executable, *command])
        wait_for(lambda: is_listening(self.port) or not self.lives, "it never came up")
        assert self.lives

    @property
    def lives(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def close(self) -> None:
        """Stop it for good."""
        self.stop()
        self._bound.close()
