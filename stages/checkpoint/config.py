"""Serializes a ``config.json``."""

from __future__ import annotations

import json
from typing import Any


def config_bytes(document: dict[str, Any]) -> bytes:
    """The same bytes for the same document, whatever the order of its keys."""
    return (json.dumps(document, indent=2, sort_keys=True) + "\n").encode()
