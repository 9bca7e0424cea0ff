"""The variables of a launch: the contract's, and those by which a server reports compilations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from bench import bench_contract, inside, make_bench
from contracts import raw_contract
from targets import bare_folder, plans

from stages.common.errors import ContractError
from stages.contract import parse_contract
from stages.measure.command import measure, record_unavailable
from stages.measure.servers.launched import launch_variables
from stages.plan.plan import Plan, make_plan

KEY = "JAX_LOG_COMPILES"


@pytest.mark.parametrize("said", [{}, {KEY: "1"}])
def test_a_launched_server_is_told_to_log_its_compilations(
    tmp_path: Path, said: dict[str, str]
) -> None:
    raw = raw_contract()
    jax, pytorch = (raw["backends"][b]["launch"]["environ"] for b in ("jax", "pytorch"))
    jax |= said
    made = plans(bare_folder(tmp_path), raw)
    assert launch_variables(made["jax", "portable"]) == jax | {KEY: "1"}
    assert launch_variables(made["pytorch", "portable"]) == pytorch


@pytest.mark.parametrize("step", [measure, record_unavailable])
def test_a_contract_by_which_a_server_hides_its_compilations_is_refused_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: Callable[[Plan, Path], None]
) -> None:
    # An empty cache: whatever needed an environment would have to build it there.
    monkeypatch.setenv("SCOREPARITY_CACHE", str(tmp_path / "cache"))
    raw = bench_contract()
    raw["backends"]["jax"]["launch"]["environ"] = {KEY: "0"}
    make_bench(tmp_path / "bench", raw)
    with inside(tmp_path / "bench"):
        plan = make_plan(parse_contract(raw), "jax", "portable")
        with pytest.raises(ContractError) as caught:
            step(plan, tmp_path / "written")
    assert str(caught.value) == (
        f"params.yaml: backends.jax.launch.environ.{KEY}: found '0'; allowed: '1' or no such key:"
        " by it the server reports its compilations"
    )
    assert not (tmp_path / "written").exists()
    assert not (tmp_path / "cache" / "environments").exists()
