"""Recognizes the texts that say that memory ran out."""

from __future__ import annotations

import re

# Messages of CUDA, HIP, XLA, C++, Python, the kernel and both servers.
_OUT_OF_MEMORY = re.compile(
    r"out[ _-]?of[ _-]?memory|resource_exhausted(?![^\n]{0,80}(?:larger than max|quota))"
    r"|not enough memory|(?:can(?:not|'t)|unable to|failed to) allocate (?:memory|\d|request)"
    r"|std::bad_alloc|MemoryError\b|cudaErrorMemoryAllocation|CUBLAS_STATUS_ALLOC_FAILED"
    r"|oom-kill(?:er)?:",
    re.IGNORECASE,
)
# Advice uses the same words, and so do shortages that a server survives.
_ONLY_A_HINT = re.compile(
    r"(?:avoid(?:ing)?|prevent(?:ing)?|\b(?:may|might|could|can)\b|cause|lead to|risk of"
    r"|\bif (?:you|it|there)\b)[^.\n]*$",
    re.IGNORECASE,
)
_SURVIVED = re.compile(r" happened\b|[^\n]{0,200}?\bnot a failure\b", re.IGNORECASE)


def looks_out_of_memory(text: str) -> bool:
    """Whether an error message or a stretch of a log says that memory ran out.

    Advice ("to avoid out of memory, ...") and shortages that the server survived ("Decode out of
    memory happened") do not count.
    """
    return any(
        not _ONLY_A_HINT.search(text[max(0, match.start() - 60) : match.start()])
        and not _SURVIVED.match(text, match.end())
        for match in _OUT_OF_MEMORY.finditer(text)
    )
