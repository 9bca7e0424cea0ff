"""The stages of a half, and why a half in a merged `dvc.lock` is refused.

A half counts if it was measured under the contract in force, with the present code, on the
workloads, the checkpoint and the nonce of the other half.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from stages.backends.registry import declared
from stages.contract import VIEWS, Backend, Contract, Pair
from tools.combine.locks import ABSENT, PREPARE, PREPARED, Entry, Lock, leaves, listed, shown

WORKLOAD = "data/workload/canonical_workload.json"
"""The part of the stage ``workload`` that the measurements read."""

DELIMITERS = "delimiters"
"""Its output goes with the oracle, which read it. It follows from the contract in a moment, and
`compare` refuses an oracle of other delimiters, so what it ran with is not asked here: it reads all
flags of both servers, and another flag is no reason to refuse the other half."""

_MOST_NAMED = 3


def stages_of(backend: Backend, pair: Pair) -> list[str]:
    """The stages of one half; the oracle runs in the reference's environment."""
    matrices = [f"measure@{backend}-{view}" for view in VIEWS]
    return ["oracle", *matrices] if backend == pair.reference else matrices


def outputs_of(backend: Backend, pair: Pair) -> list[str]:
    """The stages whose outputs make one half."""
    half = stages_of(backend, pair)
    return [DELIMITERS, *half] if backend == pair.reference else half


def needed(pair: Pair) -> list[str]:
    """The stages that made everything that `compare` reads."""
    return [*PREPARED, *(stage for backend in pair.both for stage in stages_of(backend, pair))]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why one stage is refused; ``what`` continues a sentence after its name and "was"/"were"."""

    stage: str
    what: str


def absent(lock: Lock, pair: Pair) -> list[Problem]:
    """The needed stages that were never run."""
    return [Problem(stage, "never run") for stage in needed(pair) if stage not in lock]


def of_another_contract(
    lock: Lock, params: Mapping[str, Any], changed_on: str, pair: Pair
) -> list[Problem]:
    """The stages that ran with other parameters than those in force.

    Args:
        lock: the merged lock.
        params: `params.yaml` after the merge.
        changed_on: the sides that changed `params.yaml`; empty if none did.
        pair: that is compared.
    """
    source = f"params.yaml (changed on {changed_on})" if changed_on else "params.yaml"
    problems = []
    for stage in (s for s in needed(pair) if s in lock):
        changed = _changed_params(lock[stage], params)
        clauses = [
            f"with {name} = {shown('parameter', was)}, but {'it' if i else source} says"
            f" {shown('parameter', now)}"
            for i, (name, was, now) in enumerate(changed[:_MOST_NAMED])
        ]
        if len(changed) > _MOST_NAMED:
            clauses.append(f"with other values of {len(changed) - _MOST_NAMED} more")
        if clauses:
            problems.append(Problem(stage, f"{_made(stage)} {', and '.join(clauses)}"))
    return problems


def on_other_data(lock: Lock, in_force: Mapping[str, str], pair: Pair) -> list[Problem]:
    """The stages that read other workloads, or another checkpoint or nonce.

    None of the prepared ones reads another one.

    Args:
        lock: the merged lock.
        in_force: the hash of each, by path.
        pair: that is compared.
    """
    return [
        Problem(
            stage,
            f"{_made(stage)} on another {path} ({shown('dependency', lock[stage].deps.get(path))})"
            f" than the one in force ({shown('dependency', md5)})",
        )
        for stage in needed(pair)
        for path, md5 in in_force.items()
        if stage in lock and stage not in PREPARED and lock[stage].deps.get(path) != md5
    ]


def with_other_code(status: Mapping[str, list[Any]]) -> list[Problem]:
    """The stages that ran with other code, commands or pinned requirements.

    Args:
        status: the output of `dvc status --json` for the needed stages.
    """
    problems = []
    for stage, changes in status.items():
        names = [name for change in changes for name in _changed_code(change)]
        if names:
            problems.append(Problem(stage, f"{_made(stage)} with another {listed(names)}"))
    return problems


def refusal(problems: list[Problem], touched: Iterable[str], contract: Contract) -> str:
    """All problems in one line, half by half, each with its remedy.

    Args:
        problems: at least one.
        touched: the stages that any side has run since the common ancestor.
        contract: in force.
    """
    lines = []
    prepared = [p for p in problems if p.stage in PREPARED]
    if prepared:
        lines.append(f"{_described(prepared)}: under this contract, {PREPARE}")
    for backend in contract.pair.both:
        half = stages_of(backend, contract.pair)
        refused = [p for p in problems if p.stage in half]
        if refused:
            here = bool(set(half) & set(touched))
            name = declared(backend).title
            begin = "" if here else f"the {name} half is not there yet: "
            lines.append(f"{begin}{_described(refused)}: {_mend(backend, contract)}")
    return "; ".join(lines)


def _mend(backend: Backend, contract: Contract) -> str:
    name, command = declared(backend).title, f"`make measure BACKEND={backend}`"
    section = contract.backends[backend]
    if all(section.unavailable_in(view) is not None for view in VIEWS):
        return f"{name} is unavailable, so {command} on any machine records that in its stead"
    return (
        f"run {command} on the {name} machine under this contract, commit, `dvc push` and"
        f" `git push`; without that machine, backends.{backend}.unavailable in params.yaml"
        " gives a partial report"
    )


def _described(problems: list[Problem]) -> str:
    stages: dict[str, list[str]] = {}
    for problem in problems:
        stages.setdefault(problem.what, []).append(problem.stage)
    return "; ".join(
        f"{listed(names)} {'was' if len(names) == 1 else 'were'} {what}"
        for what, names in stages.items()
    )


def _made(stage: str) -> str:
    return "measured" if stage.startswith("measure@") else "made"


def _changed_params(entry: Entry, params: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Name, recorded value and value in force of each parameter that differs."""
    changed = []
    for key, recorded in entry.params.items():
        was = dict(leaves(key, recorded))
        now = dict(leaves(key, _in_force(key, params)))
        changed += [
            (name, was.get(name, ABSENT), now.get(name, ABSENT))
            for name in dict.fromkeys([*was, *now])
            if was.get(name, ABSENT) != now.get(name, ABSENT)
        ]
    return changed


def _in_force(key: str, params: Mapping[str, Any]) -> Any:
    section: Any = params
    for part in key.split("."):
        if not isinstance(section, Mapping) or part not in section:
            return ABSENT
        section = section[part]
    return section


def _changed_code(change: Any) -> list[str]:
    """The names in one item of dvc's status, without `data/`, which the locks cover."""
    if not isinstance(change, dict):
        return [str(change).removeprefix("changed ")]
    names = []
    for path, state in change.get("changed deps", {}).items():
        if isinstance(state, dict):
            names += list(state)
        elif not path.startswith("data/"):
            names.append(path)
    return names
