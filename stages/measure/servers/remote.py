"""A server that was started elsewhere: it is measured, never started or stopped.

A server that accepts no connection is gone, and is waited for. Its processes and its log are on its
own machine, so they are not checked here.
"""

from __future__ import annotations

import os
import socket
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from stages.backends.registry import declared_backends
from stages.common.errors import UserError, hide
from stages.common.shell import API_KEY_VARIABLE
from stages.contract import Backend
from stages.documents.matrix import MULTI_ITEM_MODES
from stages.documents.model import checkpoint_sha256
from stages.measure.http.client import CallFailed, ScoreConnection
from stages.measure.http.exchange import get
from stages.measure.servers.asked import AskedRecord
from stages.measure.servers.health import probe_server
from stages.measure.servers.info import Info, ServerIdentity, Wanted, identify, parse_answer
from stages.measure.servers.under_test import OtherServerError, ServerDiedError
from stages.plan.plan import Plan

_POLL_S = 0.2
_CONNECT_TIMEOUT_S = 5.0

_FIRST_PATIENCE_S = 10.0
"""A server at a URL must be up already. One that went away gets the whole start timeout."""


def key_variable(backend: Backend) -> str:
    """The environment variable that holds the key of a backend's server."""
    return f"{API_KEY_VARIABLE}_{backend.upper()}"


def take_api_key(backend: Backend) -> str | None:
    """Remove all keys from this process's environment, and return the backend's, if one is set."""
    keys = {b: os.environ.pop(key_variable(b), "") for b in declared_backends()}
    for key in keys.values():
        hide(key)
    return keys.get(backend) or None


def is_this_machine(url: str) -> bool:
    """Whether every address of the URL's host is this machine's; a tunnel's is, too."""
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        addresses = {str(info[4][0]) for info in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return False
    own = {a.address.partition("%")[0] for every in psutil.net_if_addrs().values() for a in every}
    own |= {"::1", "::", "0.0.0.0"}  # noqa: S104  connecting to "any address" stays here
    return bool(addresses) and all(a.startswith("127.") or a in own for a in addresses)


class RemoteServer:
    """A server at a URL.

    Args:
        plan: what is measured, with the URL.
        api_key: sent with every request.
        identity: from the first contact; ``None`` where this is the first contact.
    """

    def __init__(
        self, plan: Plan, api_key: str | None, identity: ServerIdentity | None = None
    ) -> None:
        assert plan.contract.base_url is not None  # noqa: S101  what makes it one
        self.url = plan.contract.base_url.rstrip("/")
        self._plan = plan
        self._api_key = api_key
        self._identity = identity

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing to do: the server keeps running."""

    def connect(self, timeout_s: float) -> ScoreConnection:
        """A connection to it that has not been opened yet.

        Raises:
            UserError: its key cannot be sent.
        """
        try:
            return ScoreConnection(self.url, timeout_s, api_key=self._api_key)
        except ValueError as error:
            raise UserError(f"{key_variable(self._plan.backend)}: {error}") from None

    def wait_until_healthy(self, probe: Callable[[], str | None], timeout_s: float) -> float:
        """Wait until ``probe`` succeeds; return the seconds it took.

        At the first contact it waits only briefly, and a refused request is final.

        Raises:
            ServerDiedError: it was not healthy in time.
        """
        start = time.monotonic()
        first = self._identity is None
        patience = min(timeout_s, _FIRST_PATIENCE_S) if first else timeout_s
        while True:
            complaint = self.death() or probe()
            elapsed = time.monotonic() - start
            if complaint is None:
                return elapsed
            if elapsed >= patience or (first and complaint.startswith("http_4xx")):
                raise ServerDiedError(f"not healthy after {elapsed:.0f} s: {complaint}")
            time.sleep(_POLL_S)

    def check_unchanged(self, connection: ScoreConnection) -> None:
        """Check that it is the server with which the measurement began.

        Raises:
            OtherServerError: it is another one, or does not report its identity.
        """
        try:
            now = self.identity(connection)
        except UserError as error:
            raise OtherServerError(str(error)) from error
        if self._identity not in (None, now):
            raise OtherServerError(
                f"{self.url}: refused: the server is not the one this measurement began with: its"
                " version or its settings are others; the passes measured before are kept"
            )

    def identity(self, connection: ScoreConnection) -> ServerIdentity:
        """Its identity, after a check that it is what the contract requires.

        It must have scored before: until then sglang-jax does not answer ``/get_server_info``.

        Raises:
            UserError: it is something else, or does not report its identity.
        """
        plan = self._plan
        model = self._ask(connection, "/get_model_info")
        server = self._ask(connection, "/get_server_info")
        here = is_this_machine(self.url)
        try:
            identity = identify(
                server,
                model,
                Wanted(
                    key=f"backends.{plan.backend}",
                    view=plan.view,
                    model=plan.model,
                    device=plan.contract.launch.device,
                    dtype=plan.contract.launch.dtype,
                    flags=plan.contract.flags,
                    defaults=plan.driver.reported_defaults(plan.contract.flags),
                    items=max(max(sizes) for sizes in plan.chunk_sizes.values()),
                ),
                same_machine=here,
                compiles_hidden=plan.driver.compile_pattern is not None,
                folder_sha256=_folder_sha256(model.get("model_path")) if here else None,
            )
            self._check_item_order(identity)
        except UserError as error:
            raise UserError(f"{self.url}: refused: {error}") from None
        return identity

    def _check_item_order(self, identity: ServerIdentity) -> None:
        for name, workload in self._plan.workloads.by_name.items():
            mode = self._plan.scoring(name, identity.elsewhere).mode
            if workload.item_first and mode in MULTI_ITEM_MODES:
                raise UserError(
                    f"by its settings it scores items {mode} and ignores item_first,"
                    f" but the contract wants True (workloads.{name}.item_first)"
                )

    def _ask(self, connection: ScoreConnection, path: str) -> Info:
        try:
            reply = get(connection, path)
            if reply.status != 200:
                raise UserError(f"{self.url}: refused: {path} answers HTTP {reply.status}")
            return parse_answer(reply.body)
        except CallFailed as failure:
            raise UserError(f"{self.url}: refused: {path}: {failure.detail}") from failure
        except ValueError as error:
            raise UserError(f"{self.url}: refused: {path}: {error}") from error

    def not_healthy(self, detail: str) -> str:
        """The sentence on a server that did not become healthy, because of ``detail``."""
        key = ""
        if "HTTP 401" in detail or "HTTP 403" in detail:
            key = f"; its key is read from the variable {key_variable(self._plan.backend)}"
        return f"no server to measure at {self.url}: {detail}{key}"

    def death(self) -> str | None:
        """How it ended, as far as is visible: it accepts no connections."""
        url = urllib.parse.urlsplit(self.url)
        port = url.port or (443 if url.scheme == "https" else 80)
        try:
            socket.create_connection((url.hostname or "", port), _CONNECT_TIMEOUT_S).close()
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            return f"accepts no connections ({reason})"
        return None

    def died_within(self, seconds: float) -> str | None:
        """Like :meth:`death`, but gives a server that is about to end ``seconds`` to do so."""
        deadline = time.monotonic() + seconds
        while (death := self.death()) is None and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        return death

    def loss(self) -> None:
        """``None``: its processes are not visible here."""

    def died_out_of_memory(self) -> bool:
        """False: the cause is not known here."""
        return False

    def new_log(self) -> None:
        """``None``: its log is on its own machine."""


@dataclass(frozen=True, slots=True)
class FirstContact:
    """A server that was started elsewhere and has passed the checks of the first contact."""

    plan: Plan
    api_key: str | None = field(repr=False)
    identity: ServerIdentity

    @property
    def url(self) -> str:
        """Where it answers."""
        return self.server().url

    @property
    def asked(self) -> AskedRecord:
        """The record of earlier measurements of it."""
        settings = self.identity.elsewhere.settings_sha256
        return AskedRecord(self.url, self.plan.backend, settings)

    def server(self) -> RemoteServer:
        """The server, not waited for yet."""
        return RemoteServer(self.plan, self.api_key, self.identity)


def first_contact(plan: Plan, api_key: str | None) -> FirstContact:
    """Check that the server is there, scores, and is what the contract requires.

    Raises:
        UserError: it is not.
    """
    server = RemoteServer(plan, api_key)
    limits, workload = plan.contract.limits, next(iter(plan.workloads.by_name.values()))
    with server.connect(limits.call_timeout_s) as connection:
        try:
            server.wait_until_healthy(
                lambda: probe_server(connection, workload), limits.start_timeout_s
            )
        except ServerDiedError as death:
            raise UserError(server.not_healthy(death.detail)) from death
        return FirstContact(plan, api_key, server.identity(connection))


def _folder_sha256(path: object) -> str | None:
    """The hash of a model folder on this machine; ``None`` for any other path."""
    if not isinstance(path, str) or not Path(path).is_absolute():
        return None
    return checkpoint_sha256(Path(path))
