"""What the gate, its power and the noise floor say, in words."""

from __future__ import annotations

from collections.abc import Iterable

from stages.contract import Gate
from stages.documents.comparison import Cell, GateResult, Pair, Verdict
from stages.report import format as f
from stages.report.prose.reasons import controls

UNTESTED = "nothing could test the gate's power"
NO_CONTROL = "no wrong answer would differ from the right one"
NOISE_UNKNOWN = "the noise floor is not known"


def verdict(of: Verdict) -> str:
    """``not compared``."""
    return of.replace("_", " ")


def against_limits(largest: float | None, mean: float | None, limits: Gate) -> str:
    """A largest and a mean score difference, each with the gate's limit."""
    if largest is None:
        return "no finite difference"
    return (
        f"largest difference {f.difference(largest)}, limit {f.plain(limits.max_abs_diff)};"
        f" mean {f.difference(mean)}, limit {f.plain(limits.mean_abs_diff)}"
    )


def fails_gate(cell: Cell, gate: GateResult, pair: Pair, limits: Gate) -> str:
    """That ``cell`` fails the gate, by how much, and in which pass most."""
    worst = f"; worst in {gate.worst_pass}" if gate.worst_pass else ""
    figures = against_limits(gate.max_abs_diff, gate.mean_abs_diff, limits)
    return f"{f.at(cell, pair)} fails the gate ({figures}{worst})"


def also_passed(gate: GateResult) -> str:
    """Which wrong answers an inconclusive gate would pass as well."""
    names = [control.name for control in gate.controls if not control.caught]
    return f"the gate would also pass {controls(names)}"


def left_out_controls(gates: Iterable[GateResult]) -> str:
    """Wrong answers that would equal the right one: ``labels swapped (there is one label)``."""
    why = {name: only for gate in gates for name, only in gate.left_out.items()}
    return f.join(
        [f"{words} (there is one {why[n]})" for n, words in f.CONTROL_NAMES.items() if n in why]
    )


def noise(answers: str, difference: float | None) -> str:
    """How far ``answers`` (``5 answers``, ``JAX's answers``) to the same request differ."""
    differ = f"differ by up to {f.difference(difference)}" if difference else "are identical"
    return f"{answers} to the same request {differ}"
