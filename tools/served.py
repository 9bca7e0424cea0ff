"""Says whether the servers at a `base_url` are still those that were measured.

DVC cannot know of a server at a URL, so `dvc repro` calls its matrix up to date whatever answers
there now. `make repro` runs this afterwards: it asks each such server what it is, and prints one
line about each that is another one, or that could not be asked. It starts, measures and changes
nothing. Without a `base_url` it asks nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import click

from stages.common.errors import UserError, hide, one_line, one_line_errors
from stages.contract import VIEWS, Contract, load_contract
from stages.documents.cell import MatrixKey
from stages.documents.matrix import MATRIX_FILE, Provenance, folder_of, read_matrix
from stages.measure.http.client import CallFailed, ScoreConnection
from stages.measure.http.exchange import get
from stages.measure.servers.info import Info, model_path, parse_answer, settings_sha256
from stages.measure.servers.remote import key_variable

_TIMEOUT_S = 5.0


def notices(contract: Contract) -> Iterator[str]:
    """A line about each measured server that is another one now, or that could not be asked."""
    for backend in contract.pair.both:
        for view in VIEWS:
            measured = _measured(contract, MatrixKey(backend, view))
            if measured is not None and (said := _notice(measured)):
                yield said


def _measured(contract: Contract, key: MatrixKey) -> Provenance | None:
    """What the matrix says of its server; ``None`` where none at this URL was measured."""
    section = contract.backends[key.backend]
    url = section.view(key.view).base_url
    if url is None or section.unavailable_in(key.view) is not None:
        return None
    try:
        found = read_matrix(folder_of(*key) / MATRIX_FILE).provenance
    except UserError:
        return None
    return found if found.run.elsewhere is not None and found.contract.base_url == url else None


def _notice(measured: Provenance) -> str:
    """One line; empty where the server is the one that was measured."""
    url = (measured.contract.base_url or "").rstrip("/")
    title = f"{measured.backend}-{measured.view}: the server at {url}"
    when = f"{measured.run.started_at[:16].replace('T', ' ')} UTC"
    try:
        changed = _changes(measured, *_asked(url, measured.backend))
    except (UserError, CallFailed, ValueError) as error:
        why = error.detail if isinstance(error, CallFailed) else str(error)
        return (
            f"{title} could not be checked ({one_line(why, 120)}); the report is about the one"
            f" measured on {when}"
        )
    if not changed:
        return ""
    return (
        f"{title} is not the one that was measured on {when} ({', '.join(changed)}); the report is"
        " about that one, and `make remeasure` measures the present one"
    )


def _asked(url: str, backend: str) -> tuple[Info, Info]:
    """Its answers from ``/get_server_info`` and ``/get_model_info``.

    Raises:
        UserError: it refuses to answer.
        CallFailed: it does not answer.
        ValueError: its answer is no JSON object, or the key cannot be sent.
    """
    api_key = os.environ.get(key_variable(backend)) or None
    hide(api_key or "")
    answers = []
    with ScoreConnection(url, _TIMEOUT_S, api_key=api_key) as connection:
        for path in ("/get_server_info", "/get_model_info"):
            reply = get(connection, path)
            if reply.status != 200:
                raise UserError(f"{path} answers HTTP {reply.status}")
            answers.append(parse_answer(reply.body))
    return answers[0], answers[1]


def _changes(measured: Provenance, server: Info, model: Info) -> list[str]:
    """What it reports otherwise than the measured one did."""
    recorded = measured.run.elsewhere
    assert recorded is not None  # noqa: S101  only such matrices are asked about
    said = [
        f"{name} {was}, now {now}"
        for name, was, now in (
            ("version", measured.run.backend_version, one_line(str(server.get("version")), 60)),
            ("model", recorded.model_path, model_path(model)),
        )
        if was != now
    ]
    same = settings_sha256(server) == recorded.settings_sha256
    return said if same or said else ["other settings"]


@click.command()
@one_line_errors
def main() -> None:
    """Say which servers at a base_url are not those that were measured; the exit code is 0."""
    for line in notices(load_contract()):
        click.echo(line, err=True)


if __name__ == "__main__":
    main()
