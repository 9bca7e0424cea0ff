"""How each backend's server is started, and its flags in each view."""

from __future__ import annotations

import difflib
import re
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Annotated

from pydantic import BeforeValidator, Field

from stages.backends.declared import FlagValue
from stages.backends.registry import (
    backend_of,
    declared_backends,
    environment,
    environment_names,
)
from stages.common.errors import ContractError, one_line
from stages.contract.basics import VIEWS, Backend, Strict, Text, View
from stages.contract.characters import unprintable


class Source(Strict):
    """The commit of a git repository that a backend is installed from.

    Attributes:
        commit: ``None`` for the release. On a device that no release works on it has to be set
            before anything is measured; a plan needs none.
        segment_mask_mended: whether that commit serves segment masks on a TPU.
    """

    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None
    segment_mask_mended: bool = False


def _declared_environment(name: object) -> object:
    names = environment_names()
    if name not in names:
        *others, last = map(repr, names)
        raise ValueError(f"{', '.join(others)} or {last}" if others else last)
    return name


class Launch(Strict):
    """How the server process is started, the same in both views.

    Attributes:
        entry: the arguments to its Python that start the server; ``None`` for the backend's own,
            which depend on the device and on whether a commit is named.
        source: where a commit may be named to install the backend from; ``None`` for a release.
    """

    environment: Annotated[str, BeforeValidator(_declared_environment)]
    entry: Annotated[list[Text], Field(min_length=1, description="arguments to its Python")] | None
    environ: dict[str, Text]
    device: Annotated[str, Field(pattern=r"^\w[\w.:,-]*$")]
    dtype: Annotated[str, Field(pattern=r"^\w[\w.-]*$")]
    source: Source | None = None

    @property
    def program(self) -> list[str]:
        """The arguments to its Python that start the server: the contract's or the backend's.

        It is empty where neither says it, which no checked contract is.
        """
        return self.entry or backend_of(self.environment).entry(self.device, self.commit) or []

    @property
    def commit(self) -> str | None:
        """The commit it is installed from; ``None`` for a release, or where it is not set."""
        return self.source.commit if self.source is not None else None

    @property
    def segment_mask_mended(self) -> bool:
        """Whether the contract says that its commit serves segment masks on a TPU."""
        return self.source is not None and self.source.segment_mask_mended


class MultiItem(Strict):
    """All items of a request packed into one sequence, with a delimiter between them.

    Attributes:
        mask_ignored: whether the server's attention ignores the mask that keeps the items apart.
            Its scores are wrong then, and it is measured all the same because this says so.
    """

    delimiter_token_id: Annotated[int, Field(ge=0)]
    mask_ignored: bool = False


class ServerView(Strict):
    """The server flags of one view; flags that follow from the contract are computed.

    Attributes:
        base_url: where a server answers that was started elsewhere, with these flags; nothing
            is launched then. ``None`` where the server is launched here.
        multi_item: how items are packed; ``None`` where each item is a prompt of its own. Which
            flags ask for it depends on the server's version, so they are computed too.
    """

    base_url: Text | None
    flags: dict[str, FlagValue]
    multi_item: MultiItem | None = None


class BackendContract(Strict):
    """One backend: how it is launched, and its server flags in each view.

    Attributes:
        unavailable: why the backend cannot run, in one line; the other one is then measured
            and reported alone. ``None`` where it can.
    """

    unavailable: Annotated[Text, Field(pattern=r"\S")] | None
    launch: Launch
    portable: ServerView
    best_native: ServerView

    def view(self, view: View) -> ServerView:
        """The server flags of ``view``."""
        return self.portable if view == "portable" else self.best_native


class Pair(Strict):
    """The two backends that are compared, by their keys.

    Attributes:
        candidate: whose scores the gate judges.
        reference: the frozen baseline that they are judged by, never the other way round.
    """

    candidate: Backend
    reference: Backend

    @property
    def both(self) -> tuple[Backend, Backend]:
        """The candidate, then the reference."""
        return (self.candidate, self.reference)


type Backends = Mapping[Backend, BackendContract]


def check_pair(pair: Pair, backends: Backends) -> None:
    """Make sure that the pair is two different backends, each with its section.

    Raises:
        ContractError: naming the key, what was found and what is allowed.
    """
    known = sorted(declared_backends())
    for role, backend in pair.model_dump().items():
        if backend not in known:
            raise ContractError(f"pair.{role}", backend, " or ".join(map(repr, known)))
    if pair.candidate == pair.reference:
        allowed = f"another backend than pair.candidate = {pair.candidate}"
        raise ContractError("pair.reference", pair.reference, allowed)
    check_keys("backends", backends, pair)


def check_keys(section: str, found: Iterable[str], pair: Pair) -> None:
    """Make sure that ``section`` names declared backends alone, and both of the pair.

    Raises:
        ContractError: naming the key, what was found and what is allowed.
    """
    names, known = list(found), sorted(declared_backends())
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]!r}? " if close else ""
            allowed = f"{hint}known here: {', '.join(known)}"
            # Any text can be a key of a mapping.
            plain = re.fullmatch(r"[\w-]{1,60}", name, re.ASCII)
            key = f"{section}.{name}" if plain else f"{section}[{one_line(repr(name), 60)}]"
            raise ContractError(key, "an unknown key", allowed)
    for backend in pair.both:
        if backend not in names:
            raise ContractError(f"{section}.{backend}", "nothing", "this key is required")


def check_backends(backends: Backends) -> None:
    """Make sure that every server can be started as the contract says.

    Raises:
        ContractError: naming the key, what was found and what is allowed.
    """
    for backend, section in backends.items():
        key = f"backends.{backend}"
        _check_launch(f"{key}.launch", section.launch)
        for view in VIEWS:
            _check_flags(f"{key}.{view}.flags", section.view(view).flags)
            _check_base_url(f"{key}.{view}.base_url", section.view(view).base_url)
        _check_portable(f"{key}.portable", section.portable)


# argparse takes any beginning of a flag that only one flag has.
_LISTENING = "nothing: every server gets --host 127.0.0.1 and a port of its own"
_NO_KEYS = "nothing: no secret stands in a contract"
_GIVEN_ELSEWHERE: dict[str, str] = {
    "host": _LISTENING,
    "port": _LISTENING,
    "model-path": "nothing: the section model says what is served",
    "revision": "nothing: the section model says what is served",
    "device": "nothing: launch.device says it",
    "dtype": "nothing: launch.dtype says it",
    "skip-tokenizer-init": "nothing: every server gets it",
    "skip-server-warmup": "nothing: every server gets it",
    "api-key": _NO_KEYS,
    "admin-api-key": _NO_KEYS,
    "config": "nothing: every setting stands in the contract itself",
}


def _given_elsewhere(name: str) -> str | None:
    packing = {f: why for one in declared_backends().values() for f, why in one.packs_by.items()}
    given = _GIVEN_ELSEWHERE | packing
    return next((reason for flag, reason in given.items() if flag.startswith(name)), None)


def _check_launch(key: str, launch: Launch) -> None:
    from_checkout = environment(launch.environment).checkout is not None
    if not from_checkout and launch.source is not None:
        allowed = f"null: {launch.environment} is installed from a release"
        raise ContractError(f"{key}.source", launch.source.commit, allowed)
    if launch.segment_mask_mended and launch.commit is None:
        allowed = f"false, as long as no {key}.source.commit is set: it is said of that commit"
        raise ContractError(f"{key}.source.segment_mask_mended", True, allowed)
    if not launch.program:
        allowed = f"a list: no entry of its own is declared for {launch.environment}"
        raise ContractError(f"{key}.entry", None, allowed)
    for i, argument in enumerate(launch.program):
        name = argument.removeprefix("--").partition("=")[0]
        if argument.startswith("--") and name and _given_elsewhere(name) == _LISTENING:
            raise ContractError(f"{key}.entry[{i}]", argument, _LISTENING)
    for name in launch.environ:
        if not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
            raise ContractError(f"{key}.environ", name, "names of letters, digits and '_'")


def _check_flags(key: str, flags: dict[str, FlagValue]) -> None:
    for name, value in flags.items():
        if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
            raise ContractError(key, name, "flags of small letters, digits and '-', '--' left out")
        reason = _given_elsewhere(name)
        if reason is not None:
            raise ContractError(f"{key}.{name}", value, reason)
        if isinstance(value, str):
            _check_text_of_flag(f"{key}.{name}", value)
        if value == []:
            raise ContractError(f"{key}.{name}", value, "at least one number")
        for number in value if isinstance(value, list) else [value]:
            # NaN is not below anything.
            if isinstance(number, int | float) and not abs(number) < 2**63:
                raise ContractError(f"{key}.{name}", value, "numbers of at most 63 bits")


# Truth values of YAML 1.1, as it is still written; YAML 1.2, which dvc and this contract are
# read as, takes them for text.
_MEANT_AS_TRUTH = frozenset({"yes", "no", "on", "off"})


def _check_text_of_flag(key: str, text: str) -> None:
    if text.lower() in _MEANT_AS_TRUTH:
        raise ContractError(key, text, f"true or false: YAML 1.2 reads {text} as text")
    why = unprintable(text)
    if why is not None or text.startswith("--"):
        more = "" if why is None else f"; {why}"
        raise ContractError(key, text, f"printable text on one line that is no flag itself{more}")


_URL = "an http or https URL of a host, such as http://127.0.0.1:30010"
# With underscores, as the names of services in a docker-compose file have them.
_HOST = r"[A-Za-z0-9._-]+|[0-9a-fA-F.:]*:[0-9a-fA-F.:]*"
_PATH = r"(/[A-Za-z0-9_.~-]+)*/?"


def _check_base_url(key: str, base_url: str | None) -> None:
    if base_url is None:
        return
    if re.search("[@?#]", base_url):
        # What stands there may be a secret, so it is not repeated.
        shown = "a URL with more than scheme, host, port and path"
        allowed = "no user, password, query or fragment: a key comes from the environment"
        raise ContractError(key, shown, allowed)
    try:
        url = urllib.parse.urlsplit(base_url)
        fine = url.scheme in ("http", "https") and url.port != 0
    except ValueError:
        raise ContractError(key, base_url, _URL) from None
    if not fine or not re.fullmatch(_HOST, url.hostname or "") or not re.fullmatch(_PATH, url.path):
        raise ContractError(key, base_url, _URL)


def _check_portable(key: str, view: ServerView) -> None:
    rules: dict[str, tuple[FlagValue, str]] = {
        "disable-radix-cache": (True, "true: the portable view runs without a prefix cache"),
        "chunked-prefill-size": (-1, "-1: the portable view allows no hidden splitting"),
    }
    for flag, (required, allowed) in rules.items():
        found = view.flags.get(flag)
        if found != required or type(found) is not type(required):
            raise ContractError(f"{key}.flags.{flag}", found, allowed)
