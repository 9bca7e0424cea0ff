"""What a measurement has in its journal, read while it runs."""

from __future__ import annotations

from pathlib import Path

from stages.measure.record.journal import JOURNAL_FILE, PassFinished, decode_entries


def finished_passes(cache: Path) -> list[PassFinished]:
    """The finished passes in the only journal of a cache folder; none without a journal."""
    found = list(cache.glob(f"journals/*/{JOURNAL_FILE}"))
    assert len(found) <= 1
    try:
        entries, _ = decode_entries(found[0].read_bytes()) if found else ([], 0)
    except FileNotFoundError:
        # The measurement ended and removed its journal in the meantime.
        return []
    return [entry for entry in entries if isinstance(entry, PassFinished)]
