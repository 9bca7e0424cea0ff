"""Cache folders that make a second server start faster, and the variables that name them."""

from __future__ import annotations

from pathlib import Path

from stages.environments.build import scratch_folder
from stages.plan.plan import Plan


def cache_variables(plan: Plan) -> dict[str, Path]:
    """The variables that name the server's cache folders, one set for each environment."""
    folder = scratch_folder(plan.environment, "bytecode", plan.commit, plan.device)
    caches = {"PYTHONPYCACHEPREFIX": folder}
    if plan.driver.compile_cache_variable is not None:
        caches[plan.driver.compile_cache_variable] = _compile_cache(plan)
    return caches


def cache_names(plan: Plan) -> list[str]:
    """The names of these variables, which depend on no environment."""
    compiled = plan.driver.compile_cache_variable
    return ["PYTHONPYCACHEPREFIX", *([compiled] if compiled is not None else [])]


def compiled_programs(plan: Plan) -> int | None:
    """Programs that earlier servers have compiled; ``None`` where none are kept here."""
    if plan.driver.compile_cache_variable is None or plan.contract.base_url is not None:
        return None
    return sum(1 for path in _compile_cache(plan).glob("**/*") if path.is_file())


def _compile_cache(plan: Plan) -> Path:
    return scratch_folder(plan.environment, "compiled", plan.commit, plan.device)
