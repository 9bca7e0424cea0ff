"""The dry run of several workloads, which one server session measures all of."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from bench import SMALL, bench_contract, inside, make_bench
from click.testing import CliRunner
from contracts import WORKLOAD, raw_several
from packages import PACKAGE, VERSION
from targets import plans, raw_target
from text_contracts import raw_text

from stages.common.errors import UserError
from stages.contract import parse_contract
from stages.documents.matrix import folder_of, read_matrix
from stages.documents.probes import read_probes
from stages.measure.command import measure
from stages.plan.plan import make_plan, plan_for
from stages.plan.schedule import all_series, interleaved
from tools.plan.command import main
from tools.plan.counts import (
    all_probe_requests,
    cover_requests,
    probe_requests,
    requests_of,
    rows_of,
    usual_cover,
    usual_passes,
)
from tools.plan.rates import Rates, known_rates
from tools.plan.subject import subject_of
from tools.plan.words import estimate

# Sizes 1, 2 and 3; and 1, 2, 4 and 5.
FEW: dict[str, Any] = {"items": 3, "query_tokens": 12}
MANY: dict[str, Any] = {"items": 5, "query_tokens": 16}
TWO = {"few": FEW, "many": MANY}
REST = {key: value for key, value in SMALL.items() if not key.startswith("workload__")}


def raw_two(**changes: Any) -> dict[str, Any]:
    return raw_several(TWO, **{**REST, **changes})


def printed_by(folder: Path, raw: dict[str, Any]) -> list[str]:
    (folder / "params.yaml").write_text(yaml.safe_dump(raw))
    with inside(folder):
        result = CliRunner().invoke(main, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout.splitlines()


def block(lines: list[str], title: str) -> list[str]:
    """The lines about one measurement."""
    at = next(i for i, line in enumerate(lines) if line.startswith(f"{title}: "))
    return lines[at : lines.index("", at)]


def test_the_workloads_are_named_first_and_each_has_its_rows(bare: Path) -> None:
    raw = raw_two()
    lines = printed_by(bare, raw)
    assert lines[0].endswith(", 2 workloads")
    assert lines[1:3] == [
        "  few: 1 query of 12 tokens, 3 items of 8 tokens",
        "  many: 1 query of 16 tokens, 5 items of 8 tokens",
    ]
    mine = block(lines, "pytorch-portable")
    at = mine.index("    workload  chunk size  requests a pass  warm-up  sweep  confirm")
    assert [line.split() for line in mine[at + 1 : at + 8]] == [
        ["few", "1", "3", "1", "3", "2"],
        ["few", "2", "2", "1", "3", "2"],
        ["few", "3", "1", "1", "3", "2"],
        ["many", "1", "5", "1", "3", "2"],
        ["many", "2", "3", "1", "3", "2"],
        ["many", "4", "2", "1", "3", "2"],
        ["many", "5", "1", "1", "3", "2"],
    ]


def test_the_order_names_workload_and_chunk_size(bare: Path) -> None:
    raw = raw_two()
    every = all_series({"few": [1, 2, 3], "many": [1, 2, 4, 5]})
    order = interleaved("sweep", every, 1, raw["passes"]["seed"])
    told = ", ".join(f"{key.workload} {key.chunk_size}" for key in order)
    mine = block(printed_by(bare, raw), "pytorch-portable")
    assert [line.strip() for line in mine if line.startswith("    ")][-14:-8] == [
        "first warm-up, by workload and chunk size: few 1 2 3; many 1 2 4 5",
        "then the cover, untimed, by workload and items in a request: few 1 2 3; many 1 2 4 5",
        f"then sweep, 3 rounds, every second one backwards: {told}",
        "then confirm, 2 rounds: 1, the sweep's fastest and its neighbours, of each workload",
        "then answers, untimed, 2 rounds: the others, for the comparison",
        "then probes: determinism and isolation",
    ]


def test_the_counts_are_the_sums_over_the_workloads(bare: Path) -> None:
    two = plans(bare, raw_two())
    fitting = {"few": [1, 2], "many": [1, 2, 4]}
    alone = {
        name: plans(bare, raw_several({name: TWO[name]}, **{**REST, "chunk_sizes": sizes}))
        for name, sizes in fitting.items()
    }
    for key, plan in two.items():
        singles = [alone[name][key] for name in TWO]
        for count in (requests_of, cover_requests):
            parts = [count(single) for single in singles]
            found = count(plan)
            assert (found.least, found.most) == (
                sum(part.least for part in parts),
                sum(part.most for part in parts),
            )
        assert all_probe_requests(plan) == sum(map(all_probe_requests, singles))
        assert rows_of(plan) == [row for single in singles for row in rows_of(single)]
    pytorch = two["pytorch", "portable"]
    # A pass of each chunk size is 3 + 2 + 1 and 5 + 3 + 2 + 1 requests: 1 warm-up, 3 sweep and 2
    # confirm passes. The cover has 1, 2 and 3 items; 1, 2, 4 and 5.
    probes = probe_requests(pytorch, "few") + probe_requests(pytorch, "many")
    sent = (6 + 11) * (1 + 3 + 2) + 7 + probes
    assert (requests_of(pytorch).least, requests_of(pytorch).most) == (sent, sent)


def test_chunk_sizes_that_are_confirmed_whatever_is_fastest_are_told_so(bare: Path) -> None:
    jax = plans(bare, raw_two())["jax", "portable"]
    # The fastest with its neighbours: 2 stands beside every size of the smaller workload.
    assert {(row.workload, row.chunk_size): row.confirm.least for row in rows_of(jax)} == {
        ("few", 1): 2,
        ("few", 2): 2,
        ("few", 3): 0,
        ("many", 1): 2,
        ("many", 2): 0,
        ("many", 4): 0,
        ("many", 5): 0,
    }


def test_the_time_is_the_sum_over_the_workloads_and_the_server_starts_once(bare: Path) -> None:
    plan = plans(bare, raw_two())["jax", "portable"]
    rates = {
        "few": Rates({1: 2.0, 3: 4.0}, 30.0, "a result"),
        "many": Rates({1: 5.0}, 30.0, "a result"),
    }

    def seconds(name: str) -> float:
        items = TWO[name]["items"]
        passes = usual_passes(plan, name, {"few": 3, "many": 1}[name])
        return (
            sum(n * items / rates[name].of(size) for size, n in passes.items())
            + sum(n * size / rates[name].of(size) for size, n in usual_cover(plan, name).items())
            + probe_requests(plan, name) * items / rates[name].of(items)
        )

    found = estimate(plan, rates)
    assert found.seconds == pytest.approx(30 + seconds("few") + seconds("many"))
    assert found.basis == "a result"
    assert found.includes_start
    other = {**rates, "many": Rates({1: 5.0}, None, "a rough rate")}
    assert estimate(plan, other).basis == "few: a result; many: a rough rate"
    assert estimate(plan, other).seconds == found.seconds


def test_a_workload_without_a_rate_leaves_the_time_unknown_and_is_named(bare: Path) -> None:
    raw = raw_target("target=tpu_vs_gpu")
    seed = raw["workloads"]["seed"]
    raw["workloads"]["other"] = {**seed, "query_tokens": 1000}
    raw["workloads"]["half"] = {**seed, "items": 250}
    lines = printed_by(bare, raw)
    unknown = [line for line in lines if line.startswith("  time: unknown")]
    start = "  time: unknown, because there is neither a result nor a rough rate of this server"
    assert [line.partition(";")[0] for line in unknown] == [
        f"{start} at the workload other",
        f"{start} at the workload other",
        start,
        start,
    ]
    made = parse_contract(raw)
    with inside(bare):
        plan = plan_for(made, "jax", "portable", subject_of(made))
        # Rough rates are of a shape, whatever the number of items.
        assert {*known_rates(plan, made)} == {"seed", "half"}


def test_modes_are_told_by_workload_where_they_are_not_the_same(bare: Path) -> None:
    raw = raw_target("target=tpu_vs_gpu")
    raw["backends"]["jax"]["best_native"]["flags"]["multi-item-score-label-only-logprob"] = True
    seed = raw["workloads"]["seed"]
    one_label = {"label_token_ids": seed["label_token_ids"][:1], "apply_softmax": False}
    raw["workloads"]["plain"] = {**seed, **one_label, "items": 400}
    made = parse_contract(raw)
    with inside(bare):
        plan = plan_for(made, "jax", "best_native", subject_of(made))
    modes = {name: plan.scoring(name).named for name in plan.chunk_sizes}
    assert modes["seed"] != modes["plain"]
    lines = block(printed_by(bare, raw), "jax-best_native")
    assert f"  items scored: plain {modes['plain']}; seed {modes['seed']}" in lines


@pytest.fixture
def measured(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A folder in which two workloads were measured with a server that compiles."""
    raw = bench_contract("--paths", "--compiles")
    one = raw["workloads"][WORKLOAD]
    raw["workloads"] = {name: {**one, **own} for name, own in TWO.items()}
    folder = tmp_path / "bench"
    make_bench(folder, raw)
    with inside(folder):
        measure(make_plan(parse_contract(raw), "jax", "portable"), folder_of("jax", "portable"))
    return folder, raw


def test_a_real_measurement_of_two_workloads_sends_what_was_planned_and_tells_each_ones_speed(
    measured: tuple[Path, dict[str, Any]],
) -> None:
    folder, raw = measured
    made = parse_contract(raw)
    with inside(folder):
        plan = make_plan(made, "jax", "portable")
        there = folder_of("jax", "portable")
        calls = read_matrix(there / "matrix.parquet").calls
        probes = read_probes(there / "probes.parquet").frame
        sent = (there / "server.log").read_text().count("ScorePathMetrics ") // 2 - 1
        rates = known_rates(plan, made)
        # Another workload under a name that was measured: nothing is known of its speed.
        changed = copy.deepcopy(raw)
        changed["workloads"]["few"]["seed"] = 1
        make_bench(folder, changed)
        other_plan = make_plan(parse_contract(changed), "jax", "portable")
        other = known_rates(other_plan, parse_contract(changed))
    planned = requests_of(plan)
    assert planned.least <= sent <= planned.most
    repeats = probes.filter(probes["kind"] == "repeat").group_by("workload", "run").len().height
    isolated = probes.filter(probes["kind"] == "isolation").height
    assert repeats + isolated == all_probe_requests(plan)
    # Two rounds of the cover at most, of 1 to 3 and of 1 to 5 items.
    assert sent - calls.height - repeats - isolated in (8, 16)
    assert {name: sorted(one.items_per_s) for name, one in rates.items()} == {
        "few": [1, 2, 3],
        "many": [1, 2, 4, 5],
    }
    assert {*other} == {"many"}
    # The sum of a mean's passes has no fixed order.
    assert other["many"].items_per_s == pytest.approx(rates["many"].items_per_s)
    assert other["many"].basis == rates["many"].basis
    assert estimate(plan, rates).seconds is not None


def test_texts_whose_tokenizer_is_not_here_are_named_by_their_workload(bare: Path) -> None:
    raw = raw_text()
    (bare / "models").mkdir()
    (bare / "models" / f"{PACKAGE}.txt").write_text(f"{PACKAGE}=={VERSION} --hash=sha256:00\n")
    with inside(bare), pytest.raises(UserError) as refused:
        subject_of(parse_contract(raw))
    assert str(refused.value).startswith(
        f"workloads.{WORKLOAD}.tokenizer: the texts cannot be tokenized before {PACKAGE} {VERSION}"
    )
