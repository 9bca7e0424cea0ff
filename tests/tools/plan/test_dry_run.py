"""The dry run says what would run, how often and for how long, and does none of it."""

from __future__ import annotations

import copy
import math
import shlex
from pathlib import Path
from typing import Any

import comparisons as build
import pytest
import yaml
from bench import SMALL, bench_contract, inside, make_bench
from click.testing import CliRunner
from contracts import BACKENDS, ROOT, WORKLOAD, committed, raw_contract
from hypothesis import given
from hypothesis import strategies as st
from matrices import with_facts
from targets import plans, raw_target

from stages.common.errors import ContractError
from stages.contract import VIEWS, Backend, View, parse_contract
from stages.documents.cell import Series
from stages.documents.matrix import COMPARISON_FILE, folder_of, read_matrix
from stages.documents.probes import read_probes
from stages.environments.build import environment_sha256
from stages.measure.command import measure
from stages.plan.plan import Plan, make_plan, plan_for
from stages.plan.schedule import interleaved
from tools.plan.command import dry_run, main
from tools.plan.counts import (
    all_probe_requests,
    cover_requests,
    probe_requests,
    requests_of,
    rows_of,
)
from tools.plan.rates import Rates, known_rates
from tools.plan.subject import subject_of
from tools.plan.words import duration, estimate


def printed_by(folder: Path, *choices: str) -> list[str]:
    with inside(folder):
        result = CliRunner().invoke(main, choices, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    return result.stdout.splitlines()


def test_a_target_is_told_in_a_clone_where_nothing_is_and_nothing_is_left(
    bare: Path, tmp_path: Path
) -> None:
    lines = printed_by(bare, "target=tpu_vs_gpu")
    assert sorted(p.name for p in bare.iterdir()) == ["backends", "conf"]
    assert not (tmp_path / "cache").exists()
    assert lines[0] == (
        "target tpu_vs_gpu, contract seed: Qwen/Qwen3-0.6B,"
        " 1 query of 2,000 tokens, 500 items of 20 tokens"
    )
    titles = [line.partition(":")[0] for line in lines if " in environment " in line]
    assert titles == ["jax-portable", "jax-best_native", "pytorch-portable", "pytorch-best_native"]
    assert lines.count("  to be set first: backends.jax.launch.source.commit") == 2
    assert lines.count("    JAX_PLATFORMS=tpu") == 2
    assert lines.count("    JAX_LOG_COMPILES=1") == 2


def test_a_commit_is_planned_without_its_repository(
    bare: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SCOREPARITY_SGLANG_JAX_SOURCE", raising=False)
    lines = printed_by(bare, "target=cpu_multi_item")
    assert not (tmp_path / "cache").exists()
    assert not any("to be set first" in line for line in lines)
    folder = "'(a folder of the cache, named after the commit)'"
    assert lines.count(f"    JAX_COMPILATION_CACHE_DIR={folder}") == 2
    assert [line for line in lines if line.startswith("  items scored: ")][:2] == [
        "  items scored: separate",
        "  items scored: score_from_cache",
    ]
    assert len([line for line in lines if "python -m sgl_jax.launch_server" in line]) == 2


def test_how_the_items_would_be_scored_is_told_for_every_server(bare: Path) -> None:
    lines = printed_by(bare, "target=tpu_vs_gpu")
    assert [line.strip() for line in lines if line.startswith("  items scored: ")] == [
        "items scored: packed",
        "items scored: score_from_cache",
        "items scored: packed",
        "items scored: packed",
    ]
    only = "backends.jax.best_native.flags.multi-item-score-label-only-logprob"
    lines = printed_by(bare, "target=tpu_vs_gpu", f"+{only}=true")
    warned = [line for line in lines if "softmax over probabilities" in line]
    assert len(warned) == 1
    assert warned[0].startswith("  items scored: score_from_cache (label-only logprobs")


def test_every_command_line_is_the_one_that_would_be_run(bare: Path) -> None:
    lines = printed_by(bare, "target=tpu_vs_gpu")
    made = plans(bare, raw_target("target=tpu_vs_gpu"))
    commands = [line.strip() for line in lines if line.strip().startswith("python -")]
    assert [shlex.split(command) for command in commands] == [
        ["python", *made[b, v].arguments, "--host", "HOST", "--port", "PORT"]
        for b in BACKENDS
        for v in VIEWS
    ]


def test_without_choices_it_tells_params_yaml_as_it_stands(bare: Path) -> None:
    raw = raw_contract(identity__contract="edited", chunk_sizes=[2, 8])
    (bare / "params.yaml").write_text(yaml.safe_dump(raw))
    lines = printed_by(bare)
    assert lines[0].startswith("target cpu, contract edited: untrained Qwen3")
    every = [Series(WORKLOAD, size) for size in (2, 8, 16)]
    order = [str(k.chunk_size) for k in interleaved("sweep", every, 1, raw["passes"]["seed"])]
    sweep = f"then sweep, 5 rounds, every second one backwards: {' '.join(order)}"
    assert [line.strip() for line in lines].count(sweep) == 4


def test_a_wrong_choice_is_one_line(bare: Path) -> None:
    for choice, code in (("target=none", 1), ("passes.sweep=0", 2), ("a.b=1", 1)):
        with inside(bare):
            result = CliRunner().invoke(main, [choice])
        assert result.exit_code == code
        assert len(result.stderr.splitlines()) == 1


def test_a_backend_that_cannot_run_has_no_plan(bare: Path) -> None:
    lines = printed_by(bare, "backends.jax.unavailable='a quota of 0'")
    assert lines.count("  not measured: a quota of 0") == 2
    assert len([line for line in lines if line == "  command line"]) == 2
    assert not any(line.startswith("jax: ") for line in lines)


def test_a_view_that_cannot_run_has_no_plan_and_the_other_has(bare: Path) -> None:
    lines = printed_by(bare, "backends.jax.portable.unavailable='refuses a flag'")
    assert lines.count("  not measured: refuses a flag") == 1
    assert len([line for line in lines if line == "  command line"]) == 3


def test_a_server_started_elsewhere_is_told_with_the_settings_it_must_have(bare: Path) -> None:
    lines = printed_by(
        bare, "target=tpu_vs_gpu", "backends.jax.portable.base_url='http://tpu:30010'"
    )
    at = lines.index("jax-portable: sglang-jax started elsewhere")
    assert lines[at + 1] == ("  answers at http://tpu:30010, where it must run with these settings")
    assert "--multi-item-mask-impl dense" in lines[at + 2]
    # Nothing is built for it; for the other view a commit is needed still.
    assert lines.count("  to be set first: backends.jax.launch.source.commit") == 1


def test_no_launcher_is_asked_of_a_server_started_elsewhere(bare: Path) -> None:
    lines = printed_by(bare, "backends.jax.portable.base_url='http://cpu:30010'")
    at = lines.index("jax-portable: sglang-jax started elsewhere")
    assert lines[at + 2].startswith("    --model-path data/checkpoint ")
    assert "--disable-radix-cache" in lines[at + 2]
    assert not any("launch_cpu.py" in line for line in lines[at : lines.index("", at)])


def test_flags_that_follow_from_a_model_nobody_has_resolved_are_said_to(bare: Path) -> None:
    lines = printed_by(bare, "contract=seed")
    problem = "cannot be planned yet: the model's attention heads are not known"
    assert f"jax-portable: {problem}; run `dvc repro checkpoint` under this contract" in lines
    assert len([line for line in lines if line == "  command line"]) == 2, "PyTorch's"


def test_the_counts_by_hand(bare: Path) -> None:
    raw = raw_contract(**SMALL)  # 4 items in chunks of 1, 2 and 4; 3 sweep and 2 confirm passes
    made = plans(bare, raw)
    jax, pytorch = made["jax", "portable"], made["pytorch", "portable"]
    assert [(r.chunk_size, r.calls, r.sweep) for r in rows_of(jax)] == [
        (1, 4, 3),
        (2, 2, 3),
        (4, 1, 3),
    ]
    # 4 repeats; around each of 3 targets: alone, original, reversed, replaced, after 1, after all,
    # and all others shorter, then longer.
    assert probe_requests(jax, WORKLOAD) == all_probe_requests(jax) == 4 + 3 * 8
    # A pass of each chunk size is 7 requests. One chunk size at least is not warmed up further.
    always = 28 + 3 * 7
    # The cover has requests of 1, 2 and 4 items, and of 3 where the server is told to take up 4
    # prompts at once. The one that tells of compilations gets up to 8 rounds. A view with a prefix
    # cache is sent each twice.
    covers = {plan: cover_requests(made[plan]) for plan in made}
    assert {plan: (span.least, span.most) for plan, span in covers.items()} == {
        ("jax", "portable"): (4, 32),
        ("jax", "best_native"): (8, 64),
        ("pytorch", "portable"): (3, 3),
        ("pytorch", "best_native"): (6, 6),
    }
    assert (requests_of(pytorch).least, requests_of(pytorch).most) == (always + 7 + 14 + 3,) * 2
    # Confirmed: 1 and 2 if 1 is the fastest; all three, or 1, 2 and 4.
    assert requests_of(jax).least == always + 7 + 2 * (4 + 2) + 4
    assert requests_of(jax).most == always + 8 * 7 + 2 * 7 + 32


def test_the_cover_is_planned_where_each_item_is_a_prompt_of_its_own(bare: Path) -> None:
    lines = printed_by(
        bare,
        "target=tpu_vs_gpu",
        "chunk_sizes=[64]",
        "workloads.seed.items=64",
        "backends.jax.portable.multi_item=null",
        "backends.pytorch.portable.multi_item=null",
        "backends.pytorch.portable.base_url='http://gpu:30010'",
    )
    # Two rounds at the rough rates: up to 52 items/s at 32 on a line in logarithms, 80 at 64.
    # JAX's server takes up 32 prompts at once, of which the first 8 numbers are sent.
    sizes = [*range(1, 9), 16, 32]
    seconds = sum(n / (4.8 * (52 / 4.8) ** (math.log(n) / math.log(32))) for n in sizes) + 64 / 80
    # The log of the server elsewhere cannot be read, so it gets one round.
    assert [line for line in lines if line.startswith("  cover: ")] == [
        f"  cover: 11 to 88 of these requests, about {duration(2 * seconds)}",
        "  cover: 7 of these requests",
    ]
    for told in (" ".join(map(str, sizes)), "1 2 4 8 16 32"):
        order = f"    then the cover, untimed, by items in a request: {told} 64"
        assert lines.count(order) == 1
        assert lines[lines.index(order) + 1].startswith("    then sweep, ")


def test_each_further_start_gets_the_probes_and_takes_its_time(bare: Path) -> None:
    # 4 repeats and 8 layouts of each of 3 targets in each start.
    none = plans(bare, raw_contract(**SMALL))
    more = plans(bare, raw_contract(**SMALL, passes__probe_starts=3))
    for key in more:
        assert all_probe_requests(more[key]) == 4 * 28
        before, after = requests_of(none[key]), requests_of(more[key])
        assert (after.least - before.least, after.most - before.most) == (3 * 28, 3 * 28)
        rates = {WORKLOAD: Rates({4: 2.0}, 10.0, "b")}
        took, takes = estimate(none[key], rates), estimate(more[key], rates)
        assert took.seconds is not None
        # Each starts in 10 s and answers 28 requests of 4 items at 2 items/s.
        assert takes.seconds == pytest.approx(took.seconds + 3 * (10 + 28 * 2))
        limits = more[key].contract.limits
        each = limits.start_timeout_s + 28 * limits.call_timeout_s
        assert takes.most_s == pytest.approx(took.most_s + 3 * each)


def test_further_starts_are_told_and_a_server_started_elsewhere_has_none(bare: Path) -> None:
    lines = printed_by(
        bare, "passes.probe_starts=2", "backends.jax.portable.base_url='http://cpu:30010'"
    )
    told = [line.strip() for line in lines if "started" in line and "probe" in line]
    assert told == [
        "no extra start for the probes: the server was started elsewhere",
        *["then the server is started 2 times more, each time for the probes only"] * 3,
    ]
    none = printed_by(bare, "passes.probe_starts=0")
    only = printed_by(bare, "passes.probe_starts=1")
    assert "    then the server is started once more, for the probes only" in only
    assert not any("started" in line and "probe" in line for line in none)


@pytest.mark.parametrize("starts", [0, 2])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_real_measurement_sends_what_was_planned(
    tmp_path: Path, backend: Backend, starts: int
) -> None:
    compiles = ["--compiles"] if backend == "jax" else []
    raw = bench_contract("--paths", *compiles, passes__probe_starts=starts)
    make_bench(tmp_path / "bench", raw)
    with inside(tmp_path / "bench"):
        plan = make_plan(parse_contract(raw), backend, "portable")
        planned = requests_of(plan)
        folder = folder_of(backend, "portable")
        measure(plan, folder)
        in_passes = read_matrix(folder / "matrix.parquet").calls.height
        probes = read_probes(folder / "probes.parquet").frame
        # The next plan of the same contract knows how fast it was.
        rates = known_rates(plan, parse_contract(raw))
        log = (folder / "server.log").read_text()
    # Each request is told in two forms. The first one of each start is the health check.
    sent = log.count("ScorePathMetrics ") // 2 - (1 + starts)
    repeats = probes.filter(probes["kind"] == "repeat").select("start", "run").n_unique()
    isolated = probes.filter(probes["kind"] == "isolation").height
    assert planned.least <= sent <= planned.most
    assert repeats + isolated == all_probe_requests(plan)
    # A compiling server needs two rounds at most here.
    covers = sent - in_passes - repeats - isolated
    assert covers in ({4, 8} if backend == "jax" else {3})
    if backend == "pytorch":
        assert planned.least == planned.most
    known = rates[WORKLOAD]
    assert known.basis.startswith(f"data/measure/{backend}-portable/matrix.parquet, measured on ")
    assert sorted(known.items_per_s) == [1, 2, 4]
    assert known.start_s is not None


def test_the_committed_report_tells_how_long_the_default_takes(bare: Path) -> None:
    (bare / "data").symlink_to(ROOT / "data")
    made = parse_contract(committed())
    with inside(bare):
        plan = plan_for(made, "pytorch", "portable", subject_of(made))
        rates = known_rates(plan, made)
        raw = committed()
        raw["workloads"]["many"]["seed"] = 1
        other = parse_contract(raw)
        stranger = plan_for(other, "pytorch", "portable", subject_of(other))
        # Of another workload it says nothing, and of the other one what it said.
        assert {*known_rates(stranger, other)} == {*made.workloads} - {"many"}
    for name, one in rates.items():
        assert str(COMPARISON_FILE) in one.basis or "matrix.parquet" in one.basis
        assert set(one.items_per_s) == set(made.chunk_sizes_of(name))
    assert {*rates} == {*made.workloads}


@pytest.fixture
def tpu(bare: Path) -> dict[str, Any]:
    return raw_target("target=tpu_vs_gpu")


def plan_of(
    bare: Path, raw: dict[str, Any], backend: Backend, view: View = "portable"
) -> tuple[Plan, dict[str, Rates]]:
    made = parse_contract(raw)
    with inside(bare):
        plan = plan_for(made, backend, view, subject_of(made))
        return plan, known_rates(plan, made)


def test_each_view_has_its_own_rough_rates(bare: Path, tpu: dict[str, Any]) -> None:
    packed = plan_of(bare, tpu, "jax", "portable")[1]["seed"]
    extended = plan_of(bare, tpu, "jax", "best_native")[1]["seed"]
    assert packed.basis == extended.basis == "rough rates in conf/target/tpu_vs_gpu.yaml"
    assert [packed.of(chunk) for chunk in (1, 32, 64, 500)] == pytest.approx([4.8, 52, 80, 80])
    assert [extended.of(chunk) for chunk in (1, 500)] == pytest.approx([4.8, 1690])


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("workloads.seed", "query_tokens", 1000),
        ("workloads.seed", "item_tokens", 40),
        ("model", "repository", "Qwen/Qwen3-4B"),
    ],
)
def test_rough_rates_hold_for_a_model_and_a_shape_and_not_for_a_name(
    bare: Path, tpu: dict[str, Any], section: str, key: str, value: object
) -> None:
    renamed = copy.deepcopy(tpu)
    renamed["identity"]["contract"] = "another"
    assert {*plan_of(bare, renamed, "jax")[1]} == {"seed"}
    other = copy.deepcopy(tpu)
    part = other
    for name in section.split("."):
        part = part[name]
    part[key] = value
    assert plan_of(bare, other, "jax")[1] == {}, "under the same name"


WRONG_ROUGH_RATES = [
    (
        {"item_tokens": 0},
        r"rough_rates\.item_tokens: found 0; allowed: .*greater than or equal to 1",
    ),
    ({"item_tokens": "20"}, r"rough_rates\.item_tokens: found '20'; allowed: a valid integer"),
    ({"jax": {"portable": {1: 4.8}}}, r"rough_rates\.jax\.best_native: found 'nothing'"),
    ({"jaxx": None}, r"rough_rates\.jaxx: found 'an unknown key'; allowed: did you mean 'jax'\?"),
    (
        {"pytorch": {"portable": None, "best_nativ": None}},
        r"rough_rates\.pytorch\.best_nativ: found .* did you mean 'best_native'\?",
    ),
]


@pytest.mark.parametrize(("changes", "message"), WRONG_ROUGH_RATES)
def test_a_wrong_rough_rate_is_refused_by_the_dry_run_and_by_nothing_else(
    bare: Path, tpu: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    wrong = {**tpu, "rough_rates": {**tpu["rough_rates"], **changes}}
    made = parse_contract(wrong)
    with inside(bare), pytest.raises(ContractError, match=rf"^params\.yaml: {message}"):
        list(dry_run(made))
    with pytest.raises(ContractError, match=r"^params\.yaml: rough_rates: found 3; allowed: "):
        parse_contract({**tpu, "rough_rates": 3})


def test_where_nothing_is_known_the_bound_is_named_as_one(bare: Path) -> None:
    lines = printed_by(bare, "target=tpu_vs_gpu")
    # 13 passes of 1,001 requests and 35 probes at 180 s each, and half an hour to start: 652.9 h.
    assert 652.8 < ((13 * 1001 + 35) * 180 + 1800) / 3600 < 653
    assert (
        "  time: unknown, because there is neither a result nor a rough rate of this server;"
        " at most 653 h, with every request at its timeout"
    ) in lines
    assert lines[-1] == "pytorch: at most 1,306 h, no estimate"
    assert not any("USD" in line for line in lines)


def test_an_hourly_price_becomes_a_cost(bare: Path) -> None:
    lines = printed_by(bare, "target=tpu_vs_gpu", "prices_usd_per_hour.jax=6", "chunk_sizes=[64]")
    # 15 passes (3 + 5 + 7) of 500 items at 64 and at 500, and 35 probes of as many items. Portable:
    # at 80 items/s. Best-native: 1,690 items/s at 500, and at 64 on a line from 4.8 at 1, in
    # logarithms.
    at_64 = 4.8 * (1690 / 4.8) ** (math.log(64) / math.log(500))
    seconds = (2 * 15 + 35) * 500 / 80 + 15 * 500 / at_64 + (15 + 35) * 500 / 1690
    assert f"jax: about {duration(seconds)}, about {seconds / 3600 * 6:.2f} USD" in lines


@given(
    st.dictionaries(st.integers(1, 500), st.floats(0.01, 1e6), min_size=1),
    st.integers(1, 500),
)
def test_between_known_chunk_sizes_a_rate_lies_between_theirs(
    known: dict[int, float], chunk: int
) -> None:
    rate = Rates(known, None, "").of(chunk)
    if chunk in known:
        assert rate == pytest.approx(known[chunk])
    assert min(known.values()) * 0.999 <= rate <= max(known.values()) * 1.001


def test_no_estimate_exceeds_its_bound(bare: Path, tpu: dict[str, Any]) -> None:
    plan, _ = plan_of(bare, tpu, "jax")
    slow = estimate(plan, {"seed": Rates({1: 1e-9}, None, "a snail")})
    assert slow.seconds == slow.most_s


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (89, "89 s"), (91, "2 min"), (5399, "90 min"), (5400, "90 min")],
)
def test_durations_are_said_in_words(seconds: float, words: str) -> None:
    assert duration(seconds).replace("1 h 30 min", "90 min") == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "1 s"), (89, "89 s"), (5401, "1 h 31 min"), (652.55 * 3600, "653 h"), (3600, "60 min")],
)
def test_a_bound_is_never_said_to_be_less_than_it_is(seconds: float, words: str) -> None:
    assert duration(seconds, at_most=True) == words


def test_a_report_of_the_same_server_counts_whatever_its_target_is_called(bare: Path) -> None:
    made = parse_contract(raw_contract())
    with inside(bare):
        plan = plan_for(made, "pytorch", "portable", subject_of(made))
    sources = [
        build.source(
            b,
            v,
            argv=["python", *plan.arguments, "--port", "1"],
            environment_sha256=environment_sha256(plan.environment, plan.commit),
        )
        for v in VIEWS
        for b in BACKENDS
    ]
    rates = dict.fromkeys(made.chunk_sizes_of(WORKLOAD), 100.0)
    views = [build.speeds(view, rates, rates) for view in VIEWS]
    model = build.UNTRAINED.model_copy(update={"title": plan.model.title})
    known = {}
    for name, changes in (
        ("renamed", {}),
        ("another build", {"environment_sha256": "00" * 32}),
    ):
        changed = [with_facts(s, changes) for s in sources]
        report = build.comparison(*views, target="renamed", model=model, sources=changed)
        scope = report.scope.model_copy(
            update={"workload_sha256": plan.workloads.sha256s[WORKLOAD]}
        )
        whole = build.comparison_set(report.model_copy(update={"scope": scope}))
        path = bare / COMPARISON_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(whole.model_dump_json())
        with inside(bare):
            known[name] = known_rates(plan, made)
    assert known["renamed"][WORKLOAD].of(1) == pytest.approx(100)
    assert known["another build"] == {}
