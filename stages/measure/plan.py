"""Everything one measurement reads, resolved before anything is started."""

from __future__ import annotations

import json
from dataclasses import dataclass

from stages.canonical import CanonicalWorkload, read_workload
from stages.contract import REFERENCE, Backend, Contract, View
from stages.errors import UserError
from stages.measure.drivers import DRIVERS, Driver, Flags, Shape, command_line
from stages.model_record import read_model
from stages.schema import CHECKPOINT_FOLDER, MODEL_FILE, WORKLOAD_FILE, Measured, Model


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured, in which backend and view, and how its server is started.

    Attributes:
        unavailable: why the backend cannot run; nothing is started then.
    """

    backend: Backend
    view: View
    driver: Driver
    workload: CanonicalWorkload
    workload_sha256: str
    model: Model
    contract: Measured
    unavailable: str | None

    @property
    def title(self) -> str:
        """How progress lines name the measurement."""
        return f"{self.backend}-{self.view}"

    @property
    def environment(self) -> str:
        """The environment its server runs in."""
        return self.contract.launch.environment

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

    @property
    def expected_passes(self) -> int:
        """About how many passes the measurement takes."""
        passes, chunks = self.contract.passes, len(self.contract.chunk_sizes)
        # Compiling servers need about three warm-up passes; four chunk sizes are confirmed, and
        # the reference answers the confirm requests of the others too.
        warmup = passes.warmup if self.driver.compile_pattern is None else 3
        confirmed = chunks if self.backend == REFERENCE else min(chunks, 4)
        return chunks * (warmup + passes.sweep) + confirmed * passes.confirm


def make_plan(contract: Contract, backend: Backend, view: View) -> Plan:
    """Resolve the contract for one matrix; flags of the contract win over derived ones.

    Raises:
        UserError: the workload or the checkpoint is missing or damaged.
    """
    workload, digest = read_workload(WORKLOAD_FILE)
    model = read_model(MODEL_FILE)
    section = contract.backends.of(backend)
    explicit, base_url = section.view(view).flags, section.view(view).base_url
    driver = DRIVERS[backend]
    shape = Shape(
        prompt_tokens=workload.prompt_tokens,
        item_tokens=max(len(item) for item in workload.items),
        largest_chunk=max(contract.chunk_sizes),
        attention_heads=_attention_heads(),
        prefix_cache=not explicit.get("disable-radix-cache", False),
    )
    # Who starts a server elsewhere chooses its sizes; the contract's own flags are checked there.
    derived = driver.derived_flags(shape, section.launch.device) if base_url is None else {}
    flags: Flags = {**derived, **explicit}
    measured = Measured(
        chunk_sizes=contract.chunk_sizes,
        passes=contract.passes,
        limits=contract.limits,
        probes=contract.probes,
        launch=section.launch,
        base_url=base_url,
        flags=flags,
    )
    return Plan(
        backend, view, driver, workload, digest, model, measured, unavailable=section.unavailable
    )


def _attention_heads() -> int:
    path = CHECKPOINT_FOLDER / "config.json"
    try:
        heads = json.loads(path.read_bytes())["num_attention_heads"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: cannot tell the model's attention heads: {error}") from error
    return int(heads)
