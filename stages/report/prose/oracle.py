"""What the oracle says of both backends, and which prompt each of them scored, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stages.documents.comparison import OracleResult, ViewComparison
from stages.report import format as f


def not_compared(names: Sequence[str]) -> str:
    """That the oracle says nothing of these backends."""
    return f"the oracle has nothing to compare {f.join(names)} with"


def differs(distances: Mapping[str, float | None]) -> str:
    """How far each backend's scores are from the oracle's, at most."""
    (name, first), *others = distances.items()
    rest = "".join(f", {other} by up to {f.difference(far)}" for other, far in others)
    return f"{name} differs from the oracle by up to {f.difference(first)}{rest}"


def oracle(view: ViewComparison) -> str:
    """Which backend the oracle sides with, and how far it is from each."""
    unknown = [view.pair.title(b) for b, found in view.oracle.items() if found.agrees is None]
    if unknown:
        return not_compared(unknown)
    far = differs({view.pair.title(b): found.max_abs_diff for b, found in view.oracle.items()})
    side = view.oracle_sides_with
    if side == "both":
        return f"the oracle agrees with both backends ({far})"
    if side in view.pair.both:
        return f"the oracle sides with {view.pair.title(side)}: {far}"
    return f"the oracle agrees with neither backend: {far}"


_PLAIN = "query + item"


def with_delimiter(delimiter: int) -> str:
    """The prompt that holds the delimiter."""
    return f"query + delimiter {delimiter} + item"


def scored(found: OracleResult) -> str | None:
    """The prompt that a backend scored; ``None`` where that cannot be told."""
    if found.verdict == "agrees":
        return _PLAIN
    if found.verdict == "other_prompt" and found.delimited is not None:
        return with_delimiter(found.delimited.delimiter)
    return None


def other_prompt(view: ViewComparison) -> str | None:
    """Which backend scored another prompt than it was asked to; ``None`` where none is known to."""
    titles = {view.pair.title(b): scored(found) for b, found in view.oracle.items()}
    prompts = {title: prompt for title, prompt in titles.items() if prompt is not None}
    others = {title: prompt for title, prompt in prompts.items() if prompt != _PLAIN}
    if not others:
        return None
    if len(set(prompts.values())) > 1:
        which = "; ".join(f"{title}: {prompt}" for title, prompt in prompts.items())
        return f"the servers scored different prompts ({which}), so this view does not compare them"
    whose = "both servers" if len(others) == len(titles) else next(iter(others))
    return f"the scores of {whose} are those of another prompt: {next(iter(others.values()))}"
