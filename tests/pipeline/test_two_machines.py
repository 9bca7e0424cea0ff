"""Two machines measure a half each and a third combines them: real git, dvc, make and results.

Nothing is measured here: every machine's dvc finds in its run cache what the whole pipeline
measured before, as on a machine that has measured under this contract already.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from bench import inside
from click.testing import CliRunner
from pipelines import Pipeline

from tools.combine.command import main as combine
from tools.combine.locks import PREPARED, Entry, dump_lock, parse_lock

pytestmark = pytest.mark.servers

JAX = ["measure@jax-portable", "measure@jax-best_native"]
PYTORCH = ["oracle", "measure@pytorch-portable", "measure@pytorch-best_native"]
HALVES = {"jax": JAX, "pytorch": PYTORCH}
BOTH = "FROM=origin/jax origin/pytorch"


@dataclass(frozen=True)
class Machine(Pipeline):
    """A clone on a machine of its own, whose caches are its own too."""

    @property
    def cache(self) -> Path:
        """Where it would build environments and keep journals."""
        return self.folder.parent / "cache"

    @property
    def environ(self) -> dict[str, str]:
        return super().environ | {"SCOREPARITY_CACHE": str(self.cache)}

    def make(self, *arguments: str, fails: bool = False) -> str:
        """A make target in this clone, in the tests' own environment."""
        command = ["make", "--silent", "HARNESS=", "RUN=", *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=self.environ, capture_output=True, text=True
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr

    def refused(self, *refs: str) -> str:
        """The one line in which to combine ``refs`` is refused; the clone is as before."""
        self.run("git", "fetch", "--quiet")
        before = self.state()
        # In this process, because a Python that has imported everything takes seconds to start.
        with inside(self.folder), pytest.MonkeyPatch.context() as patch:
            for name, value in self.environ.items():
                patch.setenv(name, value)
            done = CliRunner().invoke(combine, refs, catch_exceptions=False)
        assert done.exit_code == 1
        assert self.state() == before
        (line,) = re.findall(r"^error: (.*)$", done.output, re.MULTILINE)
        return line

    def state(self) -> tuple[object, ...]:
        """Commit, index, files, a merge under way, and other work trees."""
        return (
            self.head(),
            self.run("git", "status", "--porcelain"),
            {p: p.read_bytes() for p in self.folder.rglob("data/**/*") if p.is_file()},
            (self.folder / ".git" / "MERGE_HEAD").exists(),
            self.run("git", "worktree", "list"),
        )

    def head(self) -> str:
        return self.run("git", "rev-parse", "HEAD").strip()

    def branch(self, name: str, start: str = "HEAD") -> None:
        """Go on in a new branch."""
        self.run("git", "checkout", "--quiet", "-b", name, start)

    def push(self, message: str) -> None:
        """Commit everything and push it."""
        self.commit(message)
        self.run("git", "push", "--quiet", "origin", "HEAD")


@dataclass
class World:
    """A bare origin, a folder as the DVC remote, and the machines that know both."""

    folder: Path
    machines: dict[str, Machine] = field(default_factory=dict)

    def new(self, name: str) -> Machine:
        """A machine with a new clone."""
        folder = self.folder / name / "scoreparity"
        folder.parent.mkdir()
        subprocess.run(["git", "clone", "--quiet", self.folder / "origin", folder], check=True)
        made = self.machines[name] = Machine(folder)
        for key, value in (("user.name", name), ("user.email", "test@localhost")):
            made.run("git", "config", key, value)
        return made


@pytest.fixture(scope="module")
def world(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> World:
    """Machine A has pushed the JAX half and machine B the PyTorch half, each to its branch."""
    made = World(tmp_path_factory.mktemp("world"))
    for command in (
        ["git", "clone", "--quiet", "--bare", str(pipeline.folder), "origin"],
        # Before anything was measured under this contract.
        ["git", "-C", "origin", "update-ref", "refs/heads/main", "HEAD~1"],
        ["mkdir", "remote"],
    ):
        subprocess.run(command, cwd=made.folder, check=True)
    for name, stages in HALVES.items():
        machine = made.new(name)
        shutil.copytree(pipeline.folder / ".dvc" / "cache", machine.folder / ".dvc" / "cache")
        if name == "jax":
            machine.run("dvc", "remote", "add", "--default", "storage", str(made.folder / "remote"))
            machine.push("where the halves meet")
        machine.branch(name)
        for run in [*machine.folder.glob(".dvc/cache/runs/*/*/*")]:
            # Both machines make the workload, each at its time.
            if name == "pytorch" and "stages.workload" in run.read_text():
                shutil.rmtree(run.parent)
        said = machine.make("measure", f"BACKEND={name}")
        assert "cached - skipping run, checking out outputs" in said
        # The one before is of what both halves are measured on, which nobody has pushed.
        *_, push = re.findall(r"^  (dvc push .*)$", said, re.MULTILINE)
        # The oracle's inputs go with it.
        read_by_it = ["delimiters"] if "oracle" in stages else []
        assert push.split()[2:] == [*PREPARED, *read_by_it, *stages]
        machine.run(*push.split())
        machine.push("a half")
    return made


@pytest.fixture(scope="module")
def third(world: World) -> Machine:
    """The machine that combines; what it refuses leaves it as it is."""
    return world.new("third")


def recorded(machine: Pipeline, *stages: str) -> dict[str, Any]:
    """What its lock says of these stages."""
    lock = parse_lock((machine.folder / "dvc.lock").read_text(), "dvc.lock")
    return {stage: lock[stage].written for stage in stages}


def record(machine: Pipeline, stages: dict[str, Any]) -> None:
    """Let its lock say this of them, as if it had run them so."""
    path = machine.folder / "dvc.lock"
    lock = parse_lock(path.read_text(), "dvc.lock")
    path.write_text(dump_lock({**lock, **{name: Entry(one) for name, one in stages.items()}}))


def test_the_third_machine_combines_both_halves_and_measures_nothing(
    world: World, pipeline: Pipeline
) -> None:
    jax, pytorch, combining = world.machines["jax"], world.machines["pytorch"], world.new("c")
    # Other tests go on to other branches.
    for name in HALVES:
        world.machines[name].run("git", "checkout", "--quiet", "--force", name)
    said = combining.make("combine", BOTH)
    assert re.findall(r"Running stage '([^']+)'", said) == ["compare", "report"]
    assert not combining.cache.exists(), "no environment, no journal"
    # To the byte what one machine makes of the same measurements.
    for path in ("data/compare/comparison.json", "data/report/report.md"):
        assert (combining.folder / path).read_bytes() == (pipeline.folder / path).read_bytes()
    assert recorded(combining, *JAX) == recorded(jax, *JAX) == recorded(pipeline, *JAX)
    assert recorded(combining, *PYTORCH) == recorded(pytorch, *PYTORCH)
    workloads = [recorded(one, "workload") for one in (combining, jax, pytorch)]
    assert workloads[0] == workloads[1] != workloads[2]
    # Everything is staged, and one commit ends it.
    assert combining.run("git", "diff", "--name-only") == ""
    combining.run("git", "commit", "--no-edit")
    parents = combining.run("git", "rev-parse", "HEAD^2", "HEAD^3").split()
    assert parents == [jax.head(), pytorch.head()]
    assert combining.run("git", "status", "--porcelain") == ""
    assert "up to date" in combining.run("dvc", "status")


def test_a_half_that_is_missing_is_named_with_the_command_that_completes_it(
    third: Machine,
) -> None:
    line = third.refused("origin/jax")
    assert line.startswith("the PyTorch half is not there yet: oracle")
    assert "`make measure BACKEND=pytorch` on the PyTorch machine" in line
    assert "backends.pytorch.unavailable in params.yaml gives a partial report" in line
    assert "JAX" not in line


def test_a_half_that_was_not_pushed_is_named_and_the_merge_is_taken_back(
    world: World, third: Machine, tmp_path: Path
) -> None:
    shutil.copytree(world.folder / "remote", tmp_path / "remote")
    local = third.folder / ".dvc" / "config.local"
    local.write_text(f"['remote \"storage\"']\n    url = {tmp_path / 'remote'}\n")
    for stage in JAX:
        (out,) = recorded(world.machines["jax"], stage)[stage]["outs"]
        (tmp_path / "remote/files/md5" / out["md5"][:2] / out["md5"][2:]).unlink()
    line = third.refused("origin/jax", "origin/pytorch")
    local.unlink()
    assert line == (
        "the output of measure@jax-portable and measure@jax-best_native is not in the DVC remote:"
        " `dvc push` on the machine that ran it"
    )


def test_a_work_tree_with_changes_is_refused(third: Machine) -> None:
    path = third.folder / "README.md"
    before = path.read_bytes()
    path.write_bytes(before + b"mine\n")
    line = third.refused("origin/jax", "origin/pytorch")
    path.write_bytes(before)
    assert line.startswith("the work tree has changes that are not committed (README.md)")


def test_a_revision_that_does_not_exist_is_refused(third: Machine) -> None:
    assert third.refused("origin/tpu").startswith("origin/tpu: no git revision")


# Branches on which something is wrong.


def test_a_contract_changed_on_one_side_only_is_refused_by_name(
    world: World, third: Machine
) -> None:
    jax = world.machines["jax"]
    jax.branch("jax-of-another-contract", "jax")
    jax.set_param("passes.confirm", 3)
    half = recorded(jax, *JAX)
    for one in half.values():
        one["params"]["params.yaml"]["passes"]["confirm"] = 3
    record(jax, half)
    jax.push("another contract")
    line = third.refused("origin/jax-of-another-contract", "origin/pytorch")
    assert line.startswith(
        "measure@pytorch-portable and measure@pytorch-best_native were measured with"
        " passes.confirm = 2, but params.yaml (changed on origin/jax-of-another-contract)"
        " says 3: run `make measure BACKEND=pytorch` on the PyTorch machine"
    )
    # The same half, but params.yaml is what it is everywhere.
    jax.run("git", "checkout", "--quiet", "jax", "--", "params.yaml")
    jax.push("not what was measured under")
    line = third.refused("origin/jax-of-another-contract", "origin/pytorch")
    assert line.startswith(
        "measure@jax-portable and measure@jax-best_native were measured with"
        " passes.confirm = 3, but params.yaml says 2: run `make measure BACKEND=jax`"
    )


def test_a_half_measured_on_other_data_is_refused_by_name(world: World, third: Machine) -> None:
    jax = world.machines["jax"]
    jax.branch("jax-on-other-data", "jax")
    paths = ["data/workload/canonical_workload.json", "data/checkpoint", "data/nonce"]
    half = recorded(jax, *JAX)
    for one in half.values():
        for path in paths:
            (dep,) = [d for d in one["deps"] if d["path"] == path]
            dep["md5"] = "0" * 32
    record(jax, half)
    jax.push("on other data")
    line = third.refused("origin/jax-on-other-data", "origin/pytorch")
    told = re.findall(
        r"(?:^|; )measure@jax-portable and measure@jax-best_native were measured on another"
        r" (\S+) \(00000000\) than the one in force \(",
        line,
    )
    assert told == paths
    assert line.startswith("measure@jax-portable and measure@jax-best_native")


def test_halves_of_two_nonces_are_refused_for_what_that_means(world: World, third: Machine) -> None:
    jax = world.machines["jax"]
    jax.branch("jax-under-a-nonce-of-its-own", "jax")
    drawn = recorded(jax, "nonce")
    drawn["nonce"]["outs"][0]["md5"] = "0" * 32 + ".dir"
    record(jax, drawn)
    jax.push("a nonce of its own")
    line = third.refused("origin/jax-under-a-nonce-of-its-own", "origin/pytorch")
    assert line.startswith("nonce was drawn on both sides (output data/nonce is 00000000 on ")
    assert "each half has a nonce of its own, so their requests differ" in line


def test_code_that_nothing_was_measured_with_is_refused_by_name(
    world: World, third: Machine
) -> None:
    jax = world.machines["jax"]
    jax.branch("jax-with-other-code", "jax")
    with (jax.folder / "stages" / "measure" / "passes.py").open("a") as file:
        file.write("# measured otherwise\n")
    jax.push("other code")
    line = third.refused("origin/jax-with-other-code", "origin/pytorch")
    for matrices in (JAX, PYTORCH[1:]):
        assert f"{' and '.join(matrices)} were measured with another stages/measure: run" in line


def test_what_git_cannot_merge_is_refused_by_name(world: World, third: Machine) -> None:
    for name, machine in list(world.machines.items())[: len(HALVES)]:
        machine.branch(f"{name}-in-conflict", name)
        machine.set_param("passes.sweep", len(name))
        (machine.folder / "README.md").write_text(f"measured on {name}\n")
        machine.push("an edit")
    line = third.refused("origin/jax-in-conflict", "origin/pytorch-in-conflict")
    assert line == (
        "origin/jax-in-conflict and origin/pytorch-in-conflict conflict in README.md and"
        " params.yaml (parameter passes.sweep is 3 on origin/jax-in-conflict and 7 on"
        " origin/pytorch-in-conflict): merge that by hand first (docs/two-machines.md)"
    )


def test_a_half_measured_on_both_sides_is_refused_by_name(world: World, third: Machine) -> None:
    pytorch = world.machines["pytorch"]
    pytorch.branch("pytorch-and-jax", "pytorch")
    before = recorded(pytorch, *JAX, *PYTORCH)
    again = recorded(world.machines["jax"], *JAX)
    for one in again.values():
        one["outs"][0]["md5"] = "0" * 32 + ".dir"
    record(pytorch, again)
    pytorch.push("both halves")
    line = third.refused("origin/jax", "origin/pytorch-and-jax")
    assert line.startswith(
        "measure@jax-portable was changed on both sides, differently: output"
        " data/measure/jax-portable is "
    )
    # What the page says to do about it: this machine takes its JAX half back.
    pytorch.run("git", "checkout", "origin/main", "--", "dvc.lock", "data")
    assert "Running stage" not in pytorch.make("measure", "BACKEND=pytorch")
    assert recorded(pytorch, *JAX, *PYTORCH) == before
