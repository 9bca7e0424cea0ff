"""A backend that cannot run: nothing is started, and the tables say why there is nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from bench import bench_contract, inside, make_bench
from click.testing import CliRunner, Result
from contracts import WORKLOAD

from stages.contract import VIEWS, parse_contract
from stages.documents.matrix import read_matrix
from stages.documents.probes import read_probes
from stages.environments.build import requirements_sha256
from stages.measure.command import main
from stages.plan.plan import make_plan

REASON = "a quota of 0 GPUs"
FOLDER = Path("data/measure/jax-portable")


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # An empty cache: whatever needed an environment would have to build it there.
    monkeypatch.setenv("SCOREPARITY_CACHE", str(tmp_path / "cache"))
    raw = bench_contract(backends__jax__unavailable=REASON)
    # Were it started, this would fail.
    raw["backends"]["jax"]["launch"]["entry"] = ["no/such/program.py"]
    make_bench(tmp_path / "bench", raw)
    return tmp_path / "bench"


def run(bench: Path) -> Result:
    with inside(bench):
        return CliRunner().invoke(main, ["jax", "portable"])


@pytest.mark.parametrize("variable", ["SCOREPARITY_FRESH", "SCOREPARITY_WAIT"])
def test_a_variable_that_is_no_boolean_is_named(bench: Path, monkeypatch, variable: str) -> None:
    monkeypatch.setenv(variable, "maybe")
    result = run(bench)
    assert result.exit_code == 2
    assert variable in result.output
    assert "'maybe' is not a valid boolean" in result.output


def test_an_unavailable_backend_ends_in_empty_tables_that_carry_the_reason(bench: Path) -> None:
    result = run(bench)
    assert result.exit_code == 0, result.output
    assert result.output == f"jax-portable: not measured, JAX is unavailable: {REASON}\n"
    matrix = read_matrix(bench / FOLDER / "matrix.parquet")
    assert matrix.calls.height == 0
    found = matrix.provenance
    assert (found.unavailable, found.run.backend_version) == (REASON, None)
    assert (found.run.devices, found.run.restarts) == ([], 0)
    of = found.workloads[WORKLOAD]
    assert (of.confirm_chunk_sizes, of.scoring, of.client_costs) == ([], None, [])
    assert (of.items, of.chunk_sizes) == (4, [1, 2, 4])
    assert set(found.run.seconds.model_dump().values()) == {0}
    assert found.run.argv[:2] == ["python", "no/such/program.py"]
    assert "--chunked-prefill-size" in found.run.argv
    assert (bench / FOLDER / "server.log").read_bytes() == b""
    probes = read_probes(bench / FOLDER / "probes.parquet")
    assert probes.frame.height == 0
    assert probes.provenance.matrix_sha256 == found.table_sha256
    assert {name: len(at) for name, at in probes.provenance.targets.items()} == {WORKLOAD: 3}


def test_a_view_of_its_own_reason_is_empty_and_the_other_is_planned(bench: Path) -> None:
    raw = bench_contract(backends__jax__portable__unavailable="refuses disable-radix-cache")
    (bench / "params.yaml").write_text(yaml.safe_dump(raw))
    result = run(bench)
    assert result.exit_code == 0, result.output
    why = "refuses disable-radix-cache"
    assert result.output == f"jax-portable: not measured, JAX is unavailable: {why}\n"
    matrix = read_matrix(bench / FOLDER / "matrix.parquet")
    assert (matrix.calls.height, matrix.provenance.unavailable) == (0, why)
    with inside(bench):
        made = parse_contract(raw)
        assert make_plan(made, "jax", "best_native").unavailable is None
        assert make_plan(made, "pytorch", "portable").unavailable is None


def test_the_backends_reason_stands_before_the_views() -> None:
    section = parse_contract(
        bench_contract(
            backends__jax__unavailable="a quota of 0", backends__jax__portable__unavailable="a flag"
        )
    ).backends["jax"]
    assert [section.unavailable_in(view) for view in VIEWS] == ["a quota of 0"] * 2


def test_nothing_is_built_for_an_unavailable_backend(bench: Path, tmp_path: Path) -> None:
    run(bench)
    assert not (tmp_path / "cache").exists()


def test_no_repository_is_needed_for_an_unavailable_commit(
    bench: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCOREPARITY_SGLANG_JAX_SOURCE", str(tmp_path / "nowhere"))
    path = bench / "params.yaml"
    raw = yaml.safe_load(path.read_text())
    raw["backends"]["jax"]["launch"]["source"] = {"commit": "a" * 40}
    path.write_text(yaml.safe_dump(raw))
    result = run(bench)
    assert result.exit_code == 0, result.output
    found = read_matrix(bench / FOLDER / "matrix.parquet").provenance
    assert found.run.environment_sha256 is None
    assert not (tmp_path / "cache").exists()


def test_its_matrix_belongs_to_the_contract_it_was_planned_under(bench: Path) -> None:
    run(bench)
    found = read_matrix(bench / FOLDER / "matrix.parquet").provenance
    raw = bench_contract()
    raw["backends"]["jax"]["launch"]["entry"] = ["no/such/program.py"]
    with inside(bench):
        available = make_plan(parse_contract(raw), "jax", "portable")
    assert found.contract == available.contract
    assert found.run.environment_sha256 == requirements_sha256("sglang_jax")
    assert found.run.environ == {"JAX_LOG_COMPILES": "1"}, "the contract sets none"
    assert found.workload_sha256 == available.workloads.sha256
