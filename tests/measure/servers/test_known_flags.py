"""Flags that the installed server does not know are named before it is started."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from bench import bench_contract, inside, make_bench
from click.testing import CliRunner, Result
from contracts import BACKENDS, raw_contract
from targets import bare_folder, plans, raw_target

from stages.common.errors import UserError
from stages.contract import VIEWS, Backend
from stages.environments.build import cache_root, ensure_environment, pinned_version, scratch_folder
from stages.measure.command import main
from stages.measure.servers.caches import cache_variables
from stages.measure.servers.known_flags import ask, check_flags, unknown_flags
from stages.measure.servers.launched import server_environment
from stages.plan.plan import Plan

STRANGE = {"multi-item-mask-impl": "dense", "disable-radix": True}


def check(plan: Plan) -> None:
    environ = server_environment(plan.contract.launch.environ, cache_variables(plan))

    def say(what: str) -> None:
        pytest.fail(what)

    check_flags(plan, ensure_environment(plan.environment), environ, say)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_real_servers_know_every_flag_of_the_default_contract(
    tmp_path: Path, backend: Backend
) -> None:
    made = plans(bare_folder(tmp_path), raw_contract())
    with inside(tmp_path):
        for view in VIEWS:
            check(made[backend, view])


@pytest.mark.parametrize(("backend", "package"), [("jax", "sglang-jax"), ("pytorch", "sglang")])
def test_what_a_real_server_does_not_know_is_named_with_its_version_and_its_key(
    tmp_path: Path, backend: Backend, package: str
) -> None:
    raw = raw_contract()
    raw["backends"][backend]["best_native"]["flags"] |= STRANGE
    made = plans(bare_folder(tmp_path), raw)
    with inside(tmp_path):
        check(made[backend, "portable"])
        version = pinned_version(f"sglang_{backend}", package)
        with pytest.raises(UserError) as caught:
            check(made[backend, "best_native"])
    key = f"backends.{backend}.best_native.flags"
    assert str(caught.value) == (
        f"{backend}-best_native: {package} {version} does not know"
        f" --multi-item-mask-impl ({key}.multi-item-mask-impl),"
        # argparse would take the beginning of a flag; which flag that is may change.
        f" --disable-radix ({key}.disable-radix)"
    )


def test_packed_items_are_unknown_to_the_release_of_sglang_jax(tmp_path: Path) -> None:
    raw = raw_contract()
    packed = {"delimiter_token_id": 9999, "mask_ignored": True}
    raw["backends"]["jax"]["portable"]["multi_item"] = packed
    made = plans(bare_folder(tmp_path), raw)
    with inside(tmp_path), pytest.raises(UserError) as caught:
        check(made["jax", "portable"])
    assert "--multi-item-scoring-delimiter (backends.jax.portable.multi_item)" in str(caught.value)


def test_the_pinned_sglang_knows_every_flag_of_a_gpu_host(tmp_path: Path) -> None:
    # One release, two environments: the flags are the same, the GPU's kernels are not here.
    bare_folder(tmp_path)
    on_cpu = plans(tmp_path, raw_contract())["pytorch", "portable"]
    on_gpu = plans(tmp_path, raw_target("target=tpu_vs_gpu"))
    with inside(tmp_path):
        assert pinned_version(on_cpu.environment, "sglang") == pinned_version(
            on_gpu["pytorch", "portable"].environment, "sglang"
        )
        check(on_cpu)
        answers = scratch_folder(on_cpu.environment, "flags").glob("*.json")
        known = max((json.loads(path.read_bytes()) or [] for path in answers), key=len)
    for view in VIEWS:
        assert unknown_flags(on_gpu["pytorch", view], known) == {}
    assert unknown_flags(on_gpu["pytorch", "portable"], known[:5]) != {}


SERVER = """
import argparse, pathlib, sys
print("noise on standard output")
other = argparse.ArgumentParser()
other.add_argument("--own")
other.parse_known_args()
parser = argparse.ArgumentParser()
for flag in {flags}:
    parser.add_argument(flag)
pathlib.Path("asked.txt").open("a").write("x")
parser.parse_args()
pathlib.Path("started.txt").touch()
sys.exit("cannot serve")
"""
EVERY = ["--model-path", "--device", "--dtype", "--host", "--port"]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to measure in, with the real environments but nothing asked of them yet."""
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "environments").symlink_to(cache_root() / "environments")
    monkeypatch.setenv("SCOREPARITY_CACHE", str(cache))
    # The lock of the machine lies in the temporary folder, and others may measure meanwhile.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path / "bench"


def run(bench: Path, flags: list[str], view_flags: dict[str, Any]) -> Result:
    """The command, on a server of our own that knows ``flags``."""
    server = bench.parent / "server.py"
    server.write_text(SERVER.format(flags=flags))
    raw = bench_contract(backends__pytorch__best_native__flags=view_flags)
    raw["backends"]["pytorch"]["launch"]["entry"] = [str(server)]
    make_bench(bench, raw)
    with inside(bench):
        return CliRunner().invoke(main, ["pytorch", "best_native"])


def test_a_measurement_names_them_in_one_line_and_starts_nothing(bench: Path) -> None:
    result = run(bench, EVERY, {"new-flag": 1})
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: pytorch-best_native: sglang ")
    assert "--new-flag (backends.pytorch.best_native.flags.new-flag)" in line
    assert "--skip-tokenizer-init (every server gets it)" in line
    assert "--context-length (computed from the contract)" in line
    assert "--model-path" not in line
    assert not (bench / "started.txt").exists()
    assert not (bench / "data" / "measure").exists()


def test_a_server_is_asked_once_and_again_when_its_program_has_changed(bench: Path) -> None:
    for _ in range(2):
        run(bench, EVERY, {"new-flag": 1})
    assert (bench / "asked.txt").read_text() == "x"
    result = run(bench, [*EVERY, "--new-flag"], {"new-flag": 1})
    assert (bench / "asked.txt").read_text() == "xx"
    assert "--new-flag" not in result.stderr


def test_a_program_that_cannot_be_asked_gives_no_answer(tmp_path: Path) -> None:
    (tmp_path / "silent.py").write_text("print('[]')\n")
    with inside(bare_folder(tmp_path)):
        python = ensure_environment("sglang_jax")
        for entry in (["no/such.py"], ["silent.py"], ["-m", "no_such"], ["-c", "1"]):
            assert ask(python, entry, {}, 60) is None


def test_a_damaged_answer_in_the_cache_is_asked_for_again(bench: Path) -> None:
    said = run(bench, EVERY, {"new-flag": 1}).stderr
    (kept,) = cache_root().glob("flags/*/*.json")
    kept.write_bytes(b"[1")
    assert run(bench, EVERY, {"new-flag": 1}).stderr == said
    assert (bench / "asked.txt").read_text() == "xx"


def test_a_server_that_cannot_be_asked_is_started_all_the_same(bench: Path) -> None:
    result = run(bench, ["--host"], {"new-flag": 1})
    assert "its server did not list its flags, so they are not checked" in result.stdout
    assert "the server did not start" in result.stderr
