"""The variables of a launch: the contract's, and those by which a server reports compilations."""

from __future__ import annotations

from pathlib import Path

import pytest
from contracts import raw_contract
from targets import bare_folder, plans

from stages.common.errors import ContractError
from stages.measure.servers.launched import launch_variables

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


def test_a_contract_by_which_a_server_hides_its_compilations_is_refused(tmp_path: Path) -> None:
    raw = raw_contract()
    raw["backends"]["jax"]["launch"]["environ"][KEY] = "0"
    plan = plans(bare_folder(tmp_path), raw)["jax", "best_native"]
    with pytest.raises(ContractError) as caught:
        launch_variables(plan)
    assert str(caught.value) == (
        f"params.yaml: backends.jax.launch.environ.{KEY}: found '0'; allowed: '1' or no such key:"
        " by it the server reports its compilations"
    )
