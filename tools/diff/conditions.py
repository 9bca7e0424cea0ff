"""Under which conditions two comparisons were measured, and which of them changed.

Ports, paths, times and the nonce are new in every run, so they do not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from stages.contract import VIEWS
from stages.documents.cell import MatrixKey
from stages.documents.comparison import (
    BUSY,
    Comparison,
    ComparisonSet,
    MatrixSource,
)
from stages.report import format as f
from stages.report.elsewhere import where
from stages.report.modes import named
from stages.report.prose.server import cpu_share
from stages.report.ranking import ranking_gate
from tools.diff.changes import Common, common

_STARTING_ANEW = frozenset({"--port", "--host", "--model-path"})
_SHORT_HASH = 12
_COMMIT = "backends.{}.launch.source.commit"


@dataclass(frozen=True, slots=True)
class ChangedCondition:
    """One condition that is not the same in both comparisons.

    Attributes:
        name: what it is; a key of ``params.yaml`` where it is one.
        where: which measurements it holds for; empty where for all.
        before, after: its values; ``—`` where a side has none.
        host: whether it is about the machine.
    """

    name: str
    where: str
    before: str
    after: str
    host: bool = False


type _Row = tuple[str, str, str, bool]
"""Name, before, after, and whether it is about the machine."""

type _Places = dict[str, list[MatrixKey]]
"""The measurements that a row holds for, by workload."""


def changed_conditions(old: ComparisonSet, new: ComparisonSet) -> list[ChangedCondition]:
    """Every recorded condition that changed, the contract's first."""
    both = common(old, new)
    found = [
        ChangedCondition(name, "", before, after)
        for name, before, after in (*_of_contract(old, new), *_of_workloads(both))
    ]
    rows: dict[_Row, _Places] = {}
    for one in both:
        for row, key in _scored_rows(one.before, one.after):
            rows.setdefault(row, {}).setdefault(one.workload, []).append(key)
    # Every workload is measured by the same runs. So the first one tells of all of them.
    for row, key in _source_rows(old.workloads[0], new.workloads[0]):
        rows.setdefault(row, {one.workload: [] for one in both} or {"": []})
        for keys in rows[row].values():
            keys.append(key)
    return found + [
        ChangedCondition(name, _places(places, both, new.workloads[0]), before, after, host)
        for (name, before, after, host), places in rows.items()
    ]


def _scored_rows(old: Comparison, new: Comparison) -> Iterator[tuple[_Row, MatrixKey]]:
    """How one workload's items were scored."""
    for key in _in_both(old, new):
        scored = _scored(old, key), _scored(new, key)
        if scored[0] != scored[1]:
            yield ("how items are scored", *scored, False), key
        twice = _sent_twice(old, key), _sent_twice(new, key)
        if twice[0] != twice[1]:
            yield ("requests sent twice to a prefix cache", *twice, False), key


def _source_rows(old: Comparison, new: Comparison) -> Iterator[tuple[_Row, MatrixKey]]:
    sources = _by_key(old), _by_key(new)
    for key in _in_both(old, new):
        for row in _source(sources[0][key], sources[1][key]):
            yield row, key


def _in_both(old: Comparison, new: Comparison) -> list[MatrixKey]:
    sources = _by_key(old), _by_key(new)
    return [key for key in _keys(new) if key in sources[0] and key in sources[1]]


def _places(places: _Places, both: list[Common], of: Comparison) -> str:
    """Where a row holds; the workload is named where it does not hold for all of them alike."""
    alike = [*places.values()]
    if len(alike) >= len(both) and all(keys == alike[0] for keys in alike):
        return _where(alike[0], of)
    return "; ".join(f"{name}: {_where(keys, of) or 'all'}" for name, keys in places.items())


def _keys(of: Comparison) -> list[MatrixKey]:
    """Every matrix of a comparison, by backend."""
    return [MatrixKey(backend, view) for backend in of.pair.both for view in VIEWS]


def _scored(of: Comparison, key: MatrixKey) -> str:
    return named(of.view(key.view), key.backend)


def _sent_twice(of: Comparison, key: MatrixKey) -> str:
    kept = of.view(key.view).prefix_cache[key.backend].kept
    return f.yes_no(_by_key(of)[key].run.requests_repeated if kept else False)


def _by_key(of: Comparison) -> dict[MatrixKey, MatrixSource]:
    return {MatrixKey(source.backend, source.view): source for source in of.sources}


def _where(keys: list[MatrixKey], of: Comparison) -> str:
    if len(keys) == len(_keys(of)):
        return ""
    for backend in of.pair.both:
        if {b for b, _ in keys} == {backend} and len(keys) == len(VIEWS):
            return f"{of.pair.title(backend)}, both views"
    return "; ".join(f.backend_view(*key, of.pair) for key in keys)


def _of_contract(old: ComparisonSet, new: ComparisonSet) -> Iterator[tuple[str, str, str]]:
    """What changed of the contract besides its workloads."""
    one, other = _contract(old.workloads[0]), _contract(new.workloads[0])
    yield from ((name, one[name], other[name]) for name in one if one[name] != other[name])
    mixes = _mixes(old), _mixes(new)
    for name in dict.fromkeys([*mixes[0], *mixes[1]]):
        before, after = (mix.get(name, f.ABSENT) for mix in mixes)
        if before != after:
            yield f"mix.{name}", before, after


def _of_workloads(both: list[Common]) -> Iterator[tuple[str, str, str]]:
    """What changed of each workload that both sides have."""
    for one in both:
        before, after = _workload(one.before), _workload(one.after)
        for name in before:
            if before[name] != after[name]:
                yield f"workloads.{one.workload}{name}", before[name], after[name]


def _contract(of: Comparison) -> dict[str, str]:
    """Every key of the contract that is the same for all workloads and recorded, as text."""
    scope = of.scope
    return {
        "identity.target": scope.identity.target,
        "identity.contract": scope.identity.contract,
        "model": scope.model.title,
        "model hash": _short(scope.model.sha256),
        "model revision": _short(scope.model.revision or f.ABSENT),
        "passes.warmup": str(scope.warmup_passes),
        "passes.sweep": str(scope.sweep_passes),
        "passes.confirm": str(scope.confirm_passes),
        "limits.call_timeout_s": f.plain(scope.call_timeout_s),
        "gate.max_abs_diff": f.plain(of.gate.max_abs_diff),
        "gate.mean_abs_diff": f.plain(of.gate.mean_abs_diff),
        "gate.ranking": ranking_gate(of),
        "selection.guardrail": f.plain(of.selection.guardrail),
        "selection.resamples": str(of.selection.resamples),
        "selection.seed": str(of.selection.seed),
    }


def _workload(of: Comparison) -> dict[str, str]:
    """What is recorded of a workload, as text, by how its key or name goes on."""
    scope = of.scope
    return {
        " hash": _short(scope.workload_sha256),
        ".query_tokens": str(scope.query_tokens),
        ".items": str(scope.items),
        ".item_tokens": str(scope.item_tokens),
        ".label_token_ids": _listed(scope.label_token_ids),
        # The contract's that fit, and the number of items.
        " chunk sizes": _listed(scope.chunk_sizes),
    }


def _mixes(of: ComparisonSet) -> dict[str, str]:
    """Each scenario's weights, as text."""
    return {
        name: ", ".join(f"{workload} {f.plain(weight)}" for workload, weight in mix.weights.items())
        for name, mix in of.summary.portable.mixes.items()
    }


def _listed(values: list[int]) -> str:
    return ", ".join(map(str, values))


def _short(digest: str) -> str:
    return digest[:_SHORT_HASH]


def _source(old: MatrixSource, new: MatrixSource) -> Iterator[tuple[str, str, str, bool]]:
    """Name, before, after, and whether it is about the machine."""
    for values, host in ((_server, False), (_machine, True)):
        before, after = values(old), values(new)
        for name in dict.fromkeys([*before, *after]):
            pair = before.get(name, f.ABSENT), after.get(name, f.ABSENT)
            if pair[0] != pair[1]:
                yield name, *pair, host
    if max(old.run.foreign_cpu or 0, new.run.foreign_cpu or 0) >= BUSY:
        load = cpu_share(old.run.foreign_cpu), cpu_share(new.run.foreign_cpu)
        yield "CPU time taken by other work", *load, False


def _server(source: MatrixSource) -> dict[str, str]:
    command, flags = _command(source.run.argv)
    return {
        "unavailable": source.unavailable or f.ABSENT,
        _COMMIT.format(source.backend): _commit(source) or f.ABSENT,
        "version": source.run.backend_version or f.ABSENT,
        "segment masks fixed, by the contract": f.yes_no(source.segment_mask_mended),
        "server": where(source),
        "environment hash": _short(source.run.environment_sha256 or f.ABSENT),
        "repaired": f.yes_no(source.run.repaired),
        "dtype": source.dtype,
        "command": command or f.ABSENT,
        **flags,
        **_settings(source),
    }


def _settings(source: MatrixSource) -> dict[str, str]:
    """The settings that a server started elsewhere reports."""
    if source.run.elsewhere is None:
        return {}
    reported = source.run.elsewhere
    settings = {name: str(value) for name, value in reported.settings.items()}
    return {**settings, "settings hash": _short(reported.settings_sha256)}


def _command(argv: list[str]) -> tuple[str, Mapping[str, str]]:
    """What is started, and its flags: name -> values (``set`` where it has none)."""
    start = next((i for i, word in enumerate(argv) if word.startswith("--")), len(argv))
    flags: dict[str, list[str]] = {}
    name = ""
    for word in argv[start:]:
        if word.startswith("--"):
            name, _, value = word.partition("=")
            flags[name] = [value] if value else []
        else:
            flags[name].append(word)
    # The environment's hash identifies it better than the path of its Python.
    entry = [PurePosixPath(word).name if i == 0 else word for i, word in enumerate(argv[:start])]
    kept = {n: " ".join(v) or "set" for n, v in flags.items() if n not in _STARTING_ANEW}
    return " ".join(entry), kept


def _machine(source: MatrixSource) -> dict[str, str]:
    host = source.run.host
    return {
        "host": host.name,
        "system": host.system,
        "architecture": host.machine,
        "processor": host.processor,
        "CPUs": str(host.cpus),
        "memory": f.gibibytes(host.memory_bytes),
        "devices": ", ".join(source.run.devices) or f.ABSENT,
        **(source.run.shell.passed if source.run.shell else {}),
    }


def other_commits(old: ComparisonSet, new: ComparisonSet) -> list[str]:
    """The backends that are installed from another commit now, a sentence each."""
    one, other = old.workloads[0], new.workloads[0]
    sources = _by_key(one), _by_key(other)
    said = []
    for key in _in_both(one, other):
        before, after = (of[key] for of in sources)
        launched = before.base_url is None and after.base_url is None
        if launched and _commit(before) != _commit(after):
            ends = " → ".join(_commit(end) or "the release" for end in (before, after))
            said.append(
                f"{other.pair.title(key.backend)} is installed from another commit: {ends}."
            )
    # The launch is the same in both views.
    return list(dict.fromkeys(said))


def _commit(source: MatrixSource) -> str | None:
    """The commit that the backend is installed from; ``None`` for a release or one elsewhere."""
    if source.base_url is not None or source.backend_commit is None:
        return None
    return _short(source.backend_commit)


def measured(of: ComparisonSet) -> str:
    """When it was measured, and at which commits of this project."""
    # Every workload is measured by the same runs.
    ran = [source for source in of.workloads[0].sources if source.unavailable is None]
    if not ran:
        return "nothing was measured"
    first = f.minute(min((s.run.started_at for s in ran), key=f.instant))
    last = f.minute(max((s.run.finished_at for s in ran), key=f.instant))
    commits = sorted({f.commit(s, 7) for s in ran if s.run.git_commit})
    at = f", at commit{'s' if len(commits) > 1 else ''} {f.join(commits)}" if commits else ""
    return f"{first} to {last}{at}"


def measured_once(old: ComparisonSet, new: ComparisonSet) -> list[str]:
    """Measurements that are the very same on both sides, by name."""
    sides = [(_by_key(one.before), _by_key(one.after)) for one in common(old, new)]
    first = old.workloads[0]
    return [
        f.backend_view(*key, first.pair)
        for key, source in _by_key(first).items()
        if source.unavailable is None
        and sides
        and all(key in after and before[key] == after[key] for before, after in sides)
    ]
