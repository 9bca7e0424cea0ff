"""Everything one measurement reads, resolved before anything is started."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from stages.backends.declared import DeclaredBackend, Flags, Shape
from stages.backends.registry import declared
from stages.common.errors import ContractError, UserError
from stages.common.git import NOT_ASKED, CodeVersion, code_version
from stages.contract import Backend, Contract, Launch, MultiItem, View
from stages.documents.matrix import (
    CHECKPOINT_FOLDER,
    MODEL_FILE,
    WORKLOAD_FILE,
    Elsewhere,
    Measured,
    Model,
    Scoring,
)
from stages.documents.model import read_model
from stages.documents.nonce import NONCE_FILE, read_nonce
from stages.documents.workload import CanonicalWorkload, read_workload
from stages.environments.build import pinned_version
from stages.measure.probes import longest_probe_tokens, packed_probe_tokens
from stages.measure.servers.info import attribute
from stages.plan.command_line import command_line


@dataclass(frozen=True, slots=True)
class Subject:
    """What is scored, and by which model.

    Attributes:
        attention_heads: of the model; ``None`` where it has not been resolved yet.
    """

    workload: CanonicalWorkload
    workload_sha256: str
    model: Model
    attention_heads: int | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, in which backend and view, and how its server is started.

    Attributes:
        is_reference: whether the other backend is judged by this one.
        unavailable: why the backend cannot run; nothing is started then.
        origins: where each of the server's flags comes from, for who has to change it.
        code: which code measures, as it was when this process began.
    """

    backend: Backend
    is_reference: bool
    view: View
    driver: DeclaredBackend
    workload: CanonicalWorkload
    workload_sha256: str
    model: Model
    contract: Measured
    unavailable: str | None
    origins: dict[str, str]
    code: CodeVersion = NOT_ASKED

    @property
    def title(self) -> str:
        """How progress lines name the measurement."""
        return f"{self.backend}-{self.view}"

    @property
    def environment(self) -> str:
        """The environment its server runs in."""
        return self.contract.launch.environment

    @property
    def commit(self) -> str | None:
        """The commit of the checkout its backend is installed from, if it is."""
        return self.contract.launch.commit

    @property
    def nonce(self) -> str:
        """That of the comparison.

        Raises:
            ValueError: it is a plan of no comparison, of which nothing may be sent.
        """
        if self.workload.nonce is None:
            raise ValueError("nothing is measured without a nonce")
        return self.workload.nonce

    @property
    def arguments(self) -> list[str]:
        """What the environment's Python is started with, host and port aside."""
        launch = self.contract.launch
        revision = ["--revision", self.model.revision] if self.model.revision else []
        return [
            *launch.entry,
            *("--model-path", self.model.path, *revision, "--skip-tokenizer-init"),
            *("--device", launch.device, "--dtype", launch.dtype, "--skip-server-warmup"),
            *command_line(self.contract.flags),
        ]

    def scoring(self, told: Elsewhere | None = None, fallbacks: int | None = None) -> Scoring:
        """How the items of a request are scored: by the server's own account, else by its flags.

        Args:
            told: what a server that was started elsewhere says of itself.
            fallbacks: requests that left the way the flags ask for, by the server's log.
        """
        flags = {attribute(name): value for name, value in self.contract.flags.items()}
        mode, detail = self.driver.scoring(
            flags if told is None else told.settings,
            item_first=self.workload.item_first,
            softmax=self.workload.apply_softmax,
        )
        return Scoring(
            mode=mode,
            told_by="flags" if told is None else "server",
            detail=detail,
            fallbacks=None if detail is None else fallbacks,
        )

    @property
    def expected_passes(self) -> int:
        """About how many passes the measurement takes."""
        passes, chunks = self.contract.passes, len(self.contract.chunk_sizes)
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
    workload, digest = read_workload(WORKLOAD_FILE)
    workload = workload.in_run(read_nonce(NONCE_FILE))
    subject = Subject(workload, digest, read_model(MODEL_FILE), attention_heads())
    return replace(plan_for(contract, backend, view, subject), code=code_version())


def plan_for(contract: Contract, backend: Backend, view: View, subject: Subject) -> Plan:
    """The plan of one matrix; flags of the contract win over computed ones.

    Raises:
        UserError: a flag cannot be computed.
        ContractError: the view's longest sequence has no room for the probes.
    """
    section, driver = contract.backends[backend], declared(backend)
    server, key = section.view(view), f"backends.{backend}.{view}"
    shape = Shape(
        prompt_tokens=subject.workload.prompt_tokens,
        item_tokens=max(len(item) for item in subject.workload.items),
        largest_chunk=max(contract.chunk_sizes),
        attention_heads=subject.attention_heads,
        prefix_cache=not server.flags.get("disable-radix-cache", False),
        probe_tokens=longest_probe_tokens(subject.workload, contract.probes),
    )
    # Who starts a server elsewhere chooses its sizes; the contract's own flags are checked there.
    sized_here = server.base_url is None
    derived = driver.derived_flags(shape, section.launch.device) if sized_here else {}
    packing = _packing(contract, section.launch, driver, server.multi_item)
    if server.multi_item is not None:
        _check_sequence(key, server.flags, packed_probe_tokens(subject.workload, contract.probes))
    measured = Measured(
        chunk_sizes=contract.chunk_sizes,
        passes=contract.passes,
        limits=contract.limits,
        probes=contract.probes,
        launch=section.launch,
        base_url=server.base_url,
        flags={**derived, **packing, **server.flags},
        multi_item=server.multi_item,
    )
    return Plan(
        backend=backend,
        is_reference=backend == contract.reference,
        view=view,
        driver=driver,
        workload=subject.workload,
        workload_sha256=subject.workload_sha256,
        model=subject.model,
        contract=measured,
        unavailable=section.unavailable,
        origins=dict.fromkeys(derived, "computed from the contract")
        | dict.fromkeys(packing, f"{key}.multi_item")
        | {flag: f"{key}.flags.{flag}" for flag in server.flags},
    )


def _packing(
    contract: Contract, launch: Launch, driver: DeclaredBackend, multi_item: MultiItem | None
) -> Flags:
    """The flags that pack the items of a request, if they are to be packed."""
    if multi_item is None:
        return {}
    pinned = pinned_version(launch.environment, driver.package)
    packing = driver.packing(multi_item.delimiter_token_id, pinned)
    reserved = contract.vocabulary.reserved_token_ids
    if packing.delimiter not in reserved:
        allowed = f"{packing.delimiter} among them: {driver.package} {pinned} puts it between items"
        raise ContractError("vocabulary.reserved_token_ids", reserved, allowed)
    return packing.flags


_LONGEST_SEQUENCE = "max-multi-item-seq-len"


def _check_sequence(key: str, flags: Flags, tokens: int) -> None:
    """Passes would fit where a probe does not, and hours later no cell would be eligible."""
    found = flags.get(_LONGEST_SEQUENCE)
    if isinstance(found, int) and found < tokens:
        allowed = f"at least {tokens:,}: probe requests with longer items are that long, packed"
        raise ContractError(f"{key}.flags.{_LONGEST_SEQUENCE}", found, allowed)


def attention_heads() -> int:
    """Those of the model that the stage ``checkpoint`` built or resolved.

    Raises:
        UserError: its ``config.json`` does not say.
    """
    path = CHECKPOINT_FOLDER / "config.json"
    try:
        heads = json.loads(path.read_bytes())["num_attention_heads"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: cannot tell the model's attention heads: {error}") from error
    return int(heads)
