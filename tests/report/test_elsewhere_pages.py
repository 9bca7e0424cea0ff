"""A report on a server that was started elsewhere: what is known of it, and what is not."""

from __future__ import annotations

from typing import Any

import comparisons as build
import pytest
from elsewhere import account
from matrices import with_facts
from report_pages import html_of

from stages.documents.comparison import Comparison
from stages.documents.matrix import RoundTrip
from stages.report.elsewhere import client_at, command, model_checked, where
from stages.report.render import render_all
from stages.report.stability import client, stability
from stages.report.trust import trust
from tools.diff.conditions import ChangedCondition, changed_conditions

URL = "http://192.0.2.1:30010"
HOSTILE = "|`<script>alert(1)</script>`| [x](javascript:x) \n# TBD"


def at_url(backend: Any, view: Any, url: str = URL, version: str = "9.8.7", **told: Any) -> Any:
    return build.source(
        backend,
        view,
        base_url=url,
        elsewhere=account(**told),
        round_trip=RoundTrip(before_s=0.012, after_s=0.011),
        environment_sha256=None,
        repaired=None,
        argv=[],
        foreign_cpu=None,
        backend_version=version,
    )


def whole(*sources: Any, **changes: Any) -> Comparison:
    """Steady cells; the given sources in the place of their own."""
    given = {(s.backend, s.view): s for s in sources}
    portable = build.speeds("portable", {1: 20, 2: 30}, {1: 10, 2: 15})
    native = build.speeds("best_native", {1: 20, 2: 30}, {1: 10, 2: 15})
    cells = [
        cell.model_copy(update={"compiled_passes": None})
        if (cell.backend, cell.view) in given
        else cell
        for cell in portable.cells
    ]
    every = [
        given.get((b, v), build.source(b, v))
        for v in ("portable", "best_native")
        for b in ("jax", "pytorch")
    ]
    return build.comparison(build.replaced(portable, *cells), native, sources=every, **changes)


def test_the_provenance_says_where_the_server_was_and_how_its_model_was_told() -> None:
    far = at_url("jax", "portable")
    near = at_url("jax", "portable", same_machine=True, model_check="hash")
    assert where(far) == f"started elsewhere, at {URL}"
    assert client_at(far) == "on another machine"
    assert client_at(near) == "on the server's machine, by its address"
    assert model_checked(far) == "not verified: only its scores show which model it is"
    assert model_checked(near) == "by the hash of its folder"
    launched = build.source("jax", "portable")
    assert (where(launched), client_at(launched)) == ("launched here", "on the server's machine")
    page = render_all(whole(far))["report.md"]
    for row in (
        f"| Server | started elsewhere, at {URL} | launched here | launched here | launched here |",
        "| Round trip | 12.0 ms before the passes, 11.0 ms after | 0.80 ms before the passes,",
        "| Environment SHA-256 | — | abababababab |",
        "| Release repaired at launch | not known | no | yes | no |",
    ):
        assert row in page


def test_in_the_place_of_a_command_line_stands_what_the_server_reports() -> None:
    assert command(at_url("jax", "portable")).splitlines() == [
        f"Started elsewhere, at {URL}. Of its settings it reports:",
        "model_path: /models/m",
        "dtype: float32",
        "disable_radix_cache: True",
        "max_total_tokens: not set",
        f"SHA-256 of all settings, keys left out: {'5e' * 32}",
    ]


def test_compilations_that_could_not_be_seen_are_not_called_none() -> None:
    told = stability(whole(at_url("jax", "portable", compiles_hidden=True)))
    assert (
        "Whether JAX's server compiled in a timed pass could not be seen in the portable view:"
        " its log is on its own machine." in told
    )
    # What the other view's own log says stands beside it.
    assert any("compiled" in t and "JAX" in t and "could not" not in t for t in told)
    both = [
        at_url("jax", view, compiles_hidden=True)  # in both views
        for view in ("portable", "best_native")
    ]
    said = [t for t in stability(whole(*both)) if "compil" in t and "JAX" in t]
    assert len(said) == 1
    assert "portable view and best-native view" in said[0]


def test_the_way_to_the_server_stands_beside_the_clients_own_work() -> None:
    comparison = whole(at_url("pytorch", "portable"))
    (sentence,) = [t for t in client(comparison) if "round trip" in t]
    assert "took 12.0 ms" in sentence
    assert "The client was not on the server's machine (PyTorch, portable view)." in sentence
    (sentence,) = [t for t in client(whole()) if "round trip" in t]
    assert "took 1.00 ms, and one for each call is at most 0.2% of the median pass" in sentence
    assert "not on the server's machine" not in sentence


def test_a_server_that_came_back_was_not_restarted_but_waited_for() -> None:
    gone = with_facts(at_url("jax", "portable"), {"restarts": 2})
    said = stability(whole(gone))
    assert "Servers restarted: JAX, portable view (2, the measurement waited for it)." in said


def test_a_baseline_from_elsewhere_is_not_called_frozen() -> None:
    page = render_all(whole(at_url("pytorch", "portable")))["report.md"]
    assert "The PyTorch baseline was started elsewhere in the portable view: it reports" in page
    assert "The PyTorch baseline is frozen" not in page
    assert "The PyTorch baseline is frozen" in render_all(whole())["report.md"]


def test_how_busy_another_machine_was_is_not_known_and_said() -> None:
    said = trust(whole(at_url("jax", "portable")))
    assert any(
        "the server's machine did is not known" in sentence for sentence in said.against_times
    )
    assert said.against == []


@pytest.mark.parametrize("place", ["version", "model_path", "settings"])
def test_what_a_server_says_cannot_break_the_pages(place) -> None:
    changes: dict[str, Any] = {place: HOSTILE}
    if place == "settings":
        changes = {"settings": {"dtype": HOSTILE, "b": "```\n" + HOSTILE}}
    comparison = whole(at_url("jax", "portable", **changes))
    pages = render_all(comparison)
    html = html_of(comparison, pages["report.md"])
    assert "<script" not in html
    assert 'javascript:x"' not in html
    rows = [line for line in pages["report.md"].splitlines() if line.startswith("| Server version")]
    assert len(rows) == 1
    assert "\n# TBD" not in pages["report.md"]


def changed(old: Comparison, new: Comparison) -> list[ChangedCondition]:
    return changed_conditions(build.comparison_set(old), build.comparison_set(new))


def test_a_diff_names_the_url_and_the_settings_that_changed() -> None:
    old, new = whole(), whole(at_url("jax", "portable"))
    found = {d.name: (d.before, d.after) for d in changed(old, new)}
    assert found["server"] == ("launched here", f"started elsewhere, at {URL}")
    assert found["repaired"] == ("yes", "not known")
    other = whole(at_url("jax", "portable", settings={"dtype": "bfloat16"}))
    found = {d.name: (d.before, d.after) for d in changed(new, other)}
    assert found["dtype"] == ("float32", "bfloat16")
