"""Checks whether a hub model is cached or can be downloaded, like stage ``checkpoint`` does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from stages.common.errors import UserError, one_line
from stages.contract import HubModel
from stages.contract.document import read_yaml
from stages.documents.matrix import MODEL_FILE
from stages.documents.model import read_model
from tools.doctor.facts import Hub

_LOCK_FILE = Path("dvc.lock")
_TIMEOUT_S = 5.0
_INDEX = "model.safetensors.index.json"


def find_hub_model(model: HubModel) -> Hub:
    """Look for the model in the local cache and, if it is not there, on the hub."""
    resolved = _resolved(model)
    cached = resolved is not None and _is_cached(model.repository, resolved)
    if cached:
        return Hub(resolved, cached, asked=False)
    return _ask(model, resolved)


def _resolved(model: HubModel) -> str | None:
    """The commit that stage ``checkpoint`` has pinned, if it would not run again."""
    try:
        record = read_model(MODEL_FILE)
        lock: Any = read_yaml(_LOCK_FILE.read_text("utf-8"), str(_LOCK_FILE))
        pinned = lock["stages"]["checkpoint"]["params"]["params.yaml"]["model"]
    except (UserError, OSError, ValueError, LookupError, TypeError):
        return None
    same = pinned == model.model_dump() and record.path == model.repository
    return record.revision if same else None


def _is_cached(repository: str, commit: str) -> bool:
    """Whether the configuration and all weights are cached."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(repository, "config.json", revision=commit)
    if not isinstance(config, str):
        return False
    folder = Path(config).parent
    index = folder / _INDEX
    if not index.exists():
        return any(path.exists() for path in folder.glob("*.safetensors"))
    try:
        names = set(json.loads(index.read_bytes())["weight_map"].values())
    except (OSError, ValueError, KeyError, AttributeError):
        return False
    return all((folder / name).exists() for name in names)


def _ask(model: HubModel, resolved: str | None) -> Hub:
    import huggingface_hub

    try:
        info = huggingface_hub.HfApi().model_info(
            model.repository,
            revision=resolved or model.revision,
            timeout=_TIMEOUT_S,
            files_metadata=True,
        )
    except Exception as error:  # the hub's client raises its own, httpx's and OSError
        return Hub(
            resolved,
            cached=False,
            asked=True,
            complaint=one_line(str(error)) or type(error).__name__,
            remedy=_remedy(error),
        )
    sizes = [file.size for file in info.siblings or () if file.size is not None]
    return Hub(resolved, cached=False, asked=True, download_bytes=sum(sizes) if sizes else None)


def _remedy(error: Exception) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.GatedRepoError):
        return "ask for access to the model, and set HF_TOKEN to a token that may read it"
    if isinstance(error, errors.RevisionNotFoundError):
        return "check model.revision"
    if isinstance(error, errors.RepositoryNotFoundError):
        return "check model.repository; a private one needs HF_TOKEN"
    if isinstance(error, errors.OfflineModeIsEnabled):
        return "unset HF_HUB_OFFLINE"
    return "connect this machine to the hub or to a mirror of it (HF_ENDPOINT)"
