"""What the oracle says of both backends of a view, and which prompt each of them scored."""

from __future__ import annotations

from stages.documents.comparison import OracleResult, ViewComparison
from stages.report import format as f


def oracle(view: ViewComparison) -> str:
    """Which backend the oracle sides with, and how far it is from each."""
    unknown = [view.pair.title(b) for b, found in view.oracle.items() if found.agrees is None]
    if unknown:
        return f"The oracle has nothing to compare {f.join(unknown)} with."
    far = ", ".join(
        f"{view.pair.title(b)} by up to {f.difference(found.max_abs_diff)}"
        for b, found in view.oracle.items()
    )
    if view.oracle_sides_with == "both":
        return f"The oracle agrees with both backends (it differs from {far})."
    if view.oracle_sides_with in view.pair.both:
        right = view.pair.title(view.oracle_sides_with)
        return f"The oracle sides with {right}: it differs from {far}."
    return f"The oracle agrees with neither backend: it differs from {far}."


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
        told = "; ".join(f"{title}: {prompt}" for title, prompt in prompts.items())
        return f"The servers scored different prompts ({told}), so this view does not compare them."
    whose = "both servers" if len(others) == len(titles) else next(iter(others))
    return f"The scores of {whose} are those of another prompt: {next(iter(others.values()))}."
