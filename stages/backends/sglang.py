"""What the servers that come from sglang have in common."""

from __future__ import annotations

import re

from stages.backends.declared import ScoringMode, Settings

# Each writes this line once for a batch.
PREFILL = re.compile(r"#new-token: (\d{1,15}), #cached-token: (\d{1,15})\b")


DELIMITER_FLAG = "multi-item-scoring-delimiter"
DELIMITER_SAID = "nothing: multi_item.delimiter_token_id says it"


def prompts(settings: Settings, item_first: bool) -> ScoringMode:
    """Items that are prompts of their own: a prefix cache holds the query if that comes first."""
    return "separate" if settings.get("disable_radix_cache") or item_first else "cached"
