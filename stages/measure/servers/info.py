"""Checks what a server reports of itself against the contract, and keeps the useful part.

``/get_server_info`` holds hundreds of settings, live figures and, in plain text, the server's keys.
Only the settings named here and in the contract are kept, each cleaned and bounded, with a hash of
all settings.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from stages.backends.declared import Flags
from stages.common.errors import UserError, one_line
from stages.common.files import sha256
from stages.documents.matrix import Model, ModelCheck, RemoteServerFacts
from stages.documents.tables import Record
from stages.plan.command_line import attribute

type Info = dict[str, Any]
type Value = bool | int | float | str | None

_VALUE_CHARACTERS = 200
_MULTI_ITEM_SETTINGS = 16

# Always kept, because they explain a speed.
_EXPLAINING = (
    *("dtype", "device", "quantization", "kv_cache_dtype", "attention_backend", "tp_size"),
    *("dp_size", "context_length", "max_running_requests", "max_total_tokens"),
    *("max_prefill_tokens", "chunked_prefill_size", "page_size", "mem_fraction_static"),
    *("disable_radix_cache", "enable_mis", "revision", "served_model_name"),
)
_MULTI_ITEM = re.compile(r"multi_item_\w{1,60}")
_SERVER_CHUNK = re.compile(r"multi_item_\w*chunk\w*")

# Left out of the hash: secrets, and settings that differ at each start of one command line.
_SECRET = re.compile(r"key|password|secret|credential|auth|watermark", re.IGNORECASE)
_LIVE = {
    *("internal_states", "startup_time", "status", "launch_command", "random_seed"),
    *("host", "port", "nccl_port", "max_total_num_tokens", "max_req_input_len", "kv_events"),
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the contract requires of a server.

    Attributes:
        key: of the backend in the contract, such as ``backends.jax``.
        view: of the matrix.
        flags: the contract's flags of this view.
        defaults: the required values of flags that the contract leaves out.
        items: in the largest request.
    """

    key: str
    view: str
    model: Model
    device: str
    dtype: str
    flags: Flags
    defaults: Flags
    items: int


class ServerIdentity(Record):
    """What a server that was started elsewhere reports: its version, model and settings."""

    version: str
    elsewhere: RemoteServerFacts


def parse_answer(body: bytes) -> Info:
    """A JSON object as a server sent it.

    Raises:
        ValueError: it is something else.
    """
    try:
        answer = json.loads(body)
        json.dumps(answer)  # readable JSON may still be nested too deeply to be written
    except RecursionError:
        raise ValueError("JSON nested too deeply") from None
    except ValueError as error:  # also a number of 5,000 digits, or bytes that are not UTF-8
        raise ValueError(f"no JSON: {error}") from None
    if not isinstance(answer, dict):
        raise ValueError("no JSON object")
    return answer


def identify(
    server: Info,
    model: Info,
    wanted: Wanted,
    *,
    same_machine: bool,
    compiles_hidden: bool,
    folder_sha256: str | None,
) -> ServerIdentity:
    """The server's identity, after a check that it is what the contract requires.

    Args:
        server: its answer from ``/get_server_info``.
        model: its answer from ``/get_model_info``.
        wanted: what the contract requires.
        same_machine: as in ``RemoteServerFacts``.
        compiles_hidden: as in ``RemoteServerFacts``.
        folder_sha256: of the model folder that it names; ``None`` where it cannot be read here.

    Raises:
        UserError: it is something else; names the key, the reported and the required value.
    """
    version = server.get("version")
    if not isinstance(version, str) or not version:
        raise UserError("its /get_server_info reports no version, so it is no sglang server")
    checked = _check_model(server, model, wanted, folder_sha256)
    _check("device", server, wanted.device, f"{wanted.key}.launch.device")
    _check("dtype", server, wanted.dtype, f"{wanted.key}.launch.dtype")
    _check_flags(server, wanted)
    return ServerIdentity(
        version=one_line(version, 60),
        elsewhere=RemoteServerFacts(
            same_machine=same_machine,
            compiles_hidden=compiles_hidden,
            model_path=model_path(model),
            model_check=checked,
            settings=_settings(server, wanted),
            settings_sha256=settings_sha256(server),
        ),
    )


def _check_model(
    server: Info, model: Info, wanted: Wanted, folder_sha256: str | None
) -> ModelCheck:
    # A weight update changes the answer of /get_model_info, but not the server's arguments.
    path, revision = model.get("model_path"), server.get("revision")
    if not isinstance(path, str) or not path:
        raise UserError("its /get_model_info reports no model_path, so its model is not known")
    if wanted.model.revision is None:
        # Each machine has its own path to a local folder.
        if folder_sha256 not in (None, wanted.model.sha256):
            raise _differs("the SHA-256 of its model folder", folder_sha256, _named(wanted.model))
        return "none" if folder_sha256 is None else "hash"
    snapshot = f"models--{wanted.model.path.replace('/', '--')}/snapshots/{wanted.model.revision}"
    if path.rstrip("/").endswith(f"/{snapshot}"):
        return "revision"
    if path != wanted.model.path:
        raise _differs("model_path", path, f"{wanted.model.path!r} (model.repository)")
    if revision != wanted.model.revision:
        raise _differs("revision", revision, f"{wanted.model.revision!r} (model.revision)")
    return "revision"


def _named(model: Model) -> str:
    return f"{model.sha256!r} ({model.title})"


def _check_flags(server: Info, wanted: Wanted) -> None:
    key = f"{wanted.key}.{wanted.view}.flags"
    for flag, value in {**wanted.defaults, **wanted.flags}.items():
        name = attribute(flag)
        if name not in server:
            raise UserError(
                f"its /get_server_info does not report {name}, so {key}.{flag} cannot be checked:"
                " leave the flag out of the contract to measure without that"
            )
        _check(name, server, value, f"{key}.{flag}")
    if wanted.view == "portable":
        for name, value in server.items():
            splits = _SERVER_CHUNK.fullmatch(name) and _is_number(value)
            if splits and 0 < value < wanted.items:
                unsplit = f"at least {wanted.items}: the portable view allows no hidden splitting"
                raise _differs(name, value, unsplit)


def _check(name: str, server: Info, wanted: Any, key: str) -> None:
    reported = server.get(name)
    if not _same(reported, wanted):
        raise _differs(name, reported, f"{wanted!r} ({key})")


def _same(reported: Any, wanted: Any) -> bool:
    if _is_number(reported) and _is_number(wanted):
        return bool(reported == wanted)
    # A server may report a flag that was left out as ``None``.
    return (reported is None and wanted is False) or (
        type(reported) is type(wanted) and bool(reported == wanted)
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _differs(name: str, reported: object, wanted: str) -> UserError:
    return UserError(f"{name} is {_shown(reported)} there, but the contract wants {wanted}")


def _shown(value: object) -> str:
    return "not set" if value is None else one_line(repr(_value(value)), 120)


def _settings(server: Info, wanted: Wanted) -> dict[str, Value]:
    names = dict.fromkeys([*_EXPLAINING, *map(attribute, wanted.flags)])
    names |= dict.fromkeys(
        sorted(name for name in server if _MULTI_ITEM.fullmatch(name))[:_MULTI_ITEM_SETTINGS]
    )
    return {
        name: _value(server[name])
        for name in names
        if name in server and name not in _LIVE and not _SECRET.search(name)
    }


def _value(value: object) -> Value:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float) and abs(value) < 2**63:
        return value
    return _text(value)


def model_path(model: Info) -> str:
    """The model that ``/get_model_info`` names, cleaned and bounded as it is recorded."""
    return _text(model.get("model_path"))


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return one_line(text, _VALUE_CHARACTERS)


def settings_sha256(server: Info) -> str:
    """SHA-256 of all settings without secrets and without those that differ at each start."""
    kept = {n: v for n, v in server.items() if n not in _LIVE and not _SECRET.search(n)}
    return sha256(json.dumps(kept, sort_keys=True).encode())
