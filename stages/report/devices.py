"""The devices that the servers ran on, and what may be concluded from them.

The names of target and contract do not count, only the devices that a measurement recorded and
the device that a server started elsewhere reports.
"""

from __future__ import annotations

from collections.abc import Sequence

from stages.contract import Backend
from stages.documents.comparison import Comparison, MatrixSource, Pair
from stages.report import format as f

_CPU = "a CPU"
_UNKNOWN = "devices that are not known"


def measured(comparison: Comparison) -> list[MatrixSource]:
    """The sources that were measured."""
    return [source for source in comparison.sources if source.unavailable is None]


def devices(source: MatrixSource) -> list[str]:
    """The devices its server ran on, and the one it reports where it was started elsewhere."""
    reported = source.run.elsewhere.settings.get("device") if source.run.elsewhere else None
    return [*source.run.devices, *([reported] if isinstance(reported, str) else [])]


def on_cpu(source: MatrixSource) -> bool:
    """Whether any of its devices is a CPU."""
    return any(_is("cpu", device) for device in devices(source))


def on_tpu(source: MatrixSource) -> bool:
    """Whether any of its devices is a TPU."""
    return any(_is("tpu", device) for device in devices(source))


def _is(kind: str, device: str) -> bool:
    return device.partition(":")[0].lower() == kind


def ran_on(sources: Sequence[MatrixSource], pair: Pair) -> str:
    """On what they ran: ``on a CPU``, ``on tpu (JAX) and on cuda (PyTorch)``."""
    found: dict[str, list[MatrixSource]] = {}
    for source in sorted(sources, key=lambda source: pair.both.index(source.backend)):
        found.setdefault(_named(source), []).append(source)
    if len(found) == 1:
        return f"on {next(iter(found))}"
    return f.join([f"on {name} ({whose(some, sources, pair)})" for name, some in found.items()])


def _named(source: MatrixSource) -> str:
    if on_cpu(source):
        return _CPU
    return f.join(list(dict.fromkeys(devices(source)))) or _UNKNOWN


def whose(some: Sequence[MatrixSource], everyone: Sequence[MatrixSource], pair: Pair) -> str:
    """Measurements in words; a backend's title alone where they are all of its measurements."""
    names = []
    for backend in pair.both:
        mine = [source for source in some if source.backend == backend]
        if mine and mine == [source for source in everyone if source.backend == backend]:
            names.append(pair.title(backend))
        else:
            names += [f.backend_view(source.backend, source.view, pair) for source in mine]
    return f.join(names)


def undeployed(sources: Sequence[MatrixSource], pair: Pair) -> str | None:
    """Why these devices are none to deploy on; ``None`` where all of them are."""
    on_one = _backends([source for source in sources if on_cpu(source)], pair)
    if on_one:
        who = _either(on_one, "neither backend", pair)
        return f"where {who} would{_not(on_one, pair)} be deployed"
    unknown = _backends([source for source in sources if not devices(source)], pair)
    if unknown:
        who = _either(unknown, "either backend", pair)
        return f"so nothing says that {who} would be deployed there"
    return None


def _backends(sources: Sequence[MatrixSource], pair: Pair) -> list[Backend]:
    return [b for b in pair.both if any(source.backend == b for source in sources)]


def _either(some: Sequence[Backend], both: str, pair: Pair) -> str:
    return both if len(some) == len(pair.both) else f.join([pair.title(b) for b in some])


def _not(some: Sequence[Backend], pair: Pair) -> str:
    return "" if len(some) == len(pair.both) else " not"
