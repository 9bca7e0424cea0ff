"""Shared by the servers that are based on sglang."""

from __future__ import annotations

import re

from stages.backends.declared import ScoringMode, Settings

# They log this line once for each batch.
PREFILL = re.compile(r"#new-token: (\d{1,15}), #cached-token: (\d{1,15})\b")


DELIMITER_FLAG = "multi-item-scoring-delimiter"
DELIMITER_SAID = "nothing: multi_item.delimiter_token_id says it"


def prompts(settings: Settings, item_first: bool) -> ScoringMode:
    """The mode of items that are separate prompts. A prefix cache holds only a leading query."""
    return "separate" if settings.get("disable_radix_cache") or item_first else "cached"
