"""The plan of a measurement: all its inputs, resolved before anything is started."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace

from stages.backends.declared import DeclaredBackend, Flags, Shape
from stages.backends.registry import declared
from stages.common.errors import ContractError, UserError
from stages.common.git import NOT_ASKED, CodeVersion, code_version
from stages.contract import Backend, Contract, Probes, View
from stages.contract.serving import ServerView
from stages.documents.matrix import (
    CHECKPOINT_FOLDER,
    MODEL_FILE,
    WORKLOAD_FILE,
    Measured,
    Model,
    RemoteServerFacts,
    Scoring,
)
from stages.documents.model import read_model
from stages.documents.nonce import NONCE_FILE, read_nonce
from stages.documents.workload import CanonicalWorkload, Workloads, read_workloads
from stages.plan.command_line import attribute, command_line
from stages.plan.packing import packing_of
from stages.plan.probe_requests import longest_probe_tokens, packed_probe_tokens, packed_tokens
from stages.plan.schedule import cover_times


@dataclass(frozen=True, slots=True)
class Subject:
    """The workloads and the model under test.

    Attributes:
        attention_heads: of the model; ``None`` where it has not been resolved yet.
    """

    workloads: Workloads
    model: Model
    attention_heads: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of one matrix, and how its server is started.

    Attributes:
        is_reference: whether the other backend is judged by this one.
        chunk_sizes: of each workload.
        unavailable: why the backend cannot run in this view. Then nothing is started.
        origins: where each of the server's flags comes from, for messages that ask to change it.
        code: the code that measures, at the start of this process.
    """

    backend: Backend
    is_reference: bool
    view: View
    driver: DeclaredBackend
    workloads: Workloads
    chunk_sizes: dict[str, list[int]]
    model: Model
    contract: Measured
    unavailable: str | None
    origins: dict[str, str]
    code: CodeVersion = NOT_ASKED

    @property
    def title(self) -> str:
        """Name of the measurement in progress lines."""
        return f"{self.backend}-{self.view}"

    @property
    def environment(self) -> str:
        """The environment in which its server runs."""
        return self.contract.launch.environment

    @property
    def commit(self) -> str | None:
        """The commit from which its backend is installed, if any."""
        return self.contract.launch.commit

    @property
    def device(self) -> str:
        """The device that its server computes on."""
        return self.contract.launch.device

    @property
    def nonce(self) -> str:
        """The nonce of the comparison.

        Raises:
            ValueError: there is none, as in a dry run. Then nothing may be sent.
        """
        (nonce,) = {one.nonce for one in self.workloads.by_name.values()}
        if nonce is None:
            raise ValueError("nothing is measured without a nonce")
        return nonce

    @property
    def arguments(self) -> list[str]:
        """The arguments of the environment's Python, without host and port."""
        return [*self.contract.launch.program, *self.settings]

    @property
    def settings(self) -> list[str]:
        """The server's own arguments, however it is started, without host and port."""
        launch = self.contract.launch
        revision = ["--revision", self.model.revision] if self.model.revision else []
        return [
            *("--model-path", self.model.path, *revision, "--skip-tokenizer-init"),
            *("--device", launch.device, "--dtype", launch.dtype, "--skip-server-warmup"),
            *command_line(self.contract.flags),
        ]

    def scoring(
        self,
        workload: str,
        reported: RemoteServerFacts | None = None,
        fallbacks: int | None = None,
    ) -> Scoring:
        """How the items of a request are scored, by the server's report or else by its flags.

        Args:
            workload: whose items.
            reported: what a server that was started elsewhere reports.
            fallbacks: requests of passes that the server scored in another mode, by its log.
        """
        flags = {attribute(name): value for name, value in self.contract.flags.items()}
        flags["device"] = self.contract.launch.device
        asked = self.workloads.by_name[workload]
        mode, detail = self.driver.scoring(
            flags if reported is None else reported.settings,
            item_first=asked.item_first,
            softmax=asked.apply_softmax,
        )
        return Scoring(
            mode=mode,
            told_by="flags" if reported is None else "server",
            detail=detail,
            fallbacks=fallbacks if self.driver.may_fall_back(mode) else None,
            stand_in=detail in self.driver.stand_ins,
            known_wrong=detail in self.driver.known_wrong,
        )

    def cover_times(self, reported: RemoteServerFacts | None = None) -> dict[str, int]:
        """How often the cover sends each request of each workload; 0 where it needs none.

        Args:
            reported: what a server that was started elsewhere reports.
        """
        return {
            name: cover_times(self.contract, self.scoring(name, reported).mode)
            for name in self.chunk_sizes
        }

    @property
    def running_requests(self) -> int:
        """The most prompts that the server takes up at once, by its flags; 0 where not known."""
        found = self.contract.flags.get("max-running-requests", 0)
        return found if isinstance(found, int) else 0

    @property
    def probe_starts(self) -> int:
        """How often its server is started again for the probes alone.

        A server that was started elsewhere cannot be started here.
        """
        started_here = self.contract.base_url is None and self.unavailable is None
        return self.contract.passes.probe_starts if started_here else 0

    @property
    def expected_passes(self) -> int:
        """Estimated number of passes."""
        return sum(self._expected_passes(len(sizes)) for sizes in self.chunk_sizes.values())

    def _expected_passes(self, chunks: int) -> int:
        passes = self.contract.passes
        # Compiling servers need about three warm-up passes; four chunk sizes are confirmed, and
        # the reference answers the confirm requests of the others too.
        warmup = passes.warmup if self.driver.compile_pattern is None else 3
        confirmed = chunks if self.is_reference else min(chunks, 4)
        return chunks * (warmup + passes.sweep) + confirmed * passes.confirm


def make_plan(contract: Contract, backend: Backend, view: View) -> Plan:
    """Resolve the contract for one matrix.

    Raises:
        UserError: the workload, the nonce or the checkpoint is missing or damaged.
    """
    workloads = read_workloads(WORKLOAD_FILE, contract.workloads).in_run(read_nonce(NONCE_FILE))
    subject = Subject(workloads, read_model(MODEL_FILE), attention_heads())
    return replace(plan_for(contract, backend, view, subject), code=code_version())


def plan_for(contract: Contract, backend: Backend, view: View, subject: Subject) -> Plan:
    """The plan of one matrix; flags of the contract win over computed ones.

    Raises:
        UserError: a flag cannot be computed.
        ContractError: the view's longest sequence has no room for the probes, or a flag of the
            view takes back what packing needs.
    """
    section, driver = contract.backends[backend], declared(backend)
    server, key = section.view(view), f"backends.{backend}.{view}"
    packs = server.multi_item is not None and driver.packs_with(server.flags)
    every = [*subject.workloads.by_name.values()]
    shapes = [_shape(one, contract, server, subject.attention_heads, packs) for one in every]
    # Sizes are derived for launched servers only. A remote one is checked against explicit flags.
    sized_here = server.base_url is None
    derived = driver.derived_flags(shapes, section.launch.device) if sized_here else {}
    packing = packing_of(contract, backend, view)
    packed = {} if packing is None else packing.flags
    _check_unlike(key, server.flags, packed)
    if packs:
        _check_sequence(key, server.flags, every, contract.probes)
    measured = Measured(
        chunk_sizes=contract.chunk_sizes,
        passes=contract.passes,
        limits=contract.limits,
        probes=contract.probes,
        launch=section.launch,
        base_url=server.base_url,
        flags={**derived, **packed, **server.flags},
        multi_item=server.multi_item,
    )
    return Plan(
        backend=backend,
        is_reference=backend == contract.reference,
        view=view,
        driver=driver,
        workloads=subject.workloads,
        chunk_sizes={one.name: contract.chunk_sizes_of(one.name) for one in every},
        model=subject.model,
        contract=measured,
        unavailable=section.unavailable_in(view),
        origins=dict.fromkeys(derived, "computed from the contract")
        | dict.fromkeys(packed, f"{key}.multi_item")
        | {flag: f"{key}.flags.{flag}" for flag in server.flags},
    )


def _shape(
    workload: CanonicalWorkload,
    contract: Contract,
    server: ServerView,
    attention_heads: int | None,
    packs: bool,
) -> Shape:
    """The sizes that one workload asks of a server."""
    return Shape(
        prompt_tokens=workload.prompt_tokens,
        item_tokens=max(len(item) for item in workload.items),
        largest_chunk=len(workload.items),
        attention_heads=attention_heads,
        prefix_cache=not server.flags.get("disable-radix-cache", False),
        probe_tokens=longest_probe_tokens(workload, contract.probes),
        packed_tokens=packed_tokens(workload, contract.probes) if packs else 0,
        flags=server.flags,
    )


def _check_unlike(key: str, flags: Flags, packing: Flags) -> None:
    """Refuse a flag that takes back what packing needs: the server would end as it starts."""
    for flag, needed in packing.items():
        found = flags.get(flag, needed)
        if found != needed:
            allowed = f"{needed!r}, or nothing: {key}.multi_item needs it"
            raise ContractError(f"{key}.flags.{flag}", found, allowed)


_LONGEST_SEQUENCE = "max-multi-item-seq-len"


def _check_sequence(
    key: str, flags: Flags, workloads: Iterable[CanonicalWorkload], probes: Probes
) -> None:
    """Refuse a limit that passes fit and probes do not: in the end no cell would be eligible."""
    limit = flags.get(_LONGEST_SEQUENCE)
    tokens, name = max((packed_probe_tokens(one, probes), one.name) for one in workloads)
    if isinstance(limit, int) and limit < tokens:
        allowed = (
            f"at least {tokens:,}: probe requests of workloads.{name} with longer items are that"
            " long, packed"
        )
        raise ContractError(f"{key}.flags.{_LONGEST_SEQUENCE}", limit, allowed)


def attention_heads() -> int:
    """The attention heads of the model that the stage ``checkpoint`` built or resolved.

    Raises:
        UserError: its ``config.json`` does not hold them.
    """
    path = CHECKPOINT_FOLDER / "config.json"
    try:
        heads = json.loads(path.read_bytes())["num_attention_heads"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: cannot tell the model's attention heads: {error}") from error
    return int(heads)
