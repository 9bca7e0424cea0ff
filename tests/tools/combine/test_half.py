"""Two machines measure under one nonce, or are told before they measure: real git, dvc and make.

Both backends are unavailable, so a half is measured in no time; what is asked here is the same.
"""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from contracts import BACKENDS, ROOT
from project import Project, make_project

from tools.combine.locks import PREPARED, Entry, Lock, parse_lock


@dataclass(frozen=True)
class Machine(Project):
    """A clone with caches of its own."""

    def measure(self, backend: str) -> str:
        """What `make measure` says."""
        command = ("make", "--silent", "HARNESS=", "RUN=", "measure", f"BACKEND={backend}")
        return self.run(*command)

    def lock(self) -> Lock:
        return parse_lock((self.folder / "dvc.lock").read_text(), "dvc.lock")

    def nonce(self) -> Entry:
        return self.lock()["nonce"]

    def short(self) -> str:
        """The nonce as it is told."""
        return self.nonce().outs["data/nonce"][:8]


@pytest.fixture(scope="module")
def agreed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare repository with the contract and where the remote is, and nothing prepared."""
    folder = tmp_path_factory.mktemp("agreed")
    project = make_project(folder / "first" / "scoreparity")
    for backend in BACKENDS:
        project.set_param(f"backends.{backend}.unavailable", "a quota of 0")
    project.run("dvc", "remote", "add", "--default", "storage", "../../remote")
    for name in ("data/.gitignore", "data/measure/.gitignore"):
        (project.folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, project.folder / name)
    (project.folder / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    project.commit("the contract")
    project.run("git", "clone", "--quiet", "--bare", ".", str(folder / "origin"))
    return folder / "origin"


@pytest.fixture
def world(agreed: Path, tmp_path: Path) -> Path:
    shutil.copytree(agreed, tmp_path / "origin")
    return tmp_path


def new_machine(world: Path, name: str, branch: str = "main") -> Machine:
    """A machine with a clone, on a branch of its own."""
    machine = Machine(world / name / "scoreparity")
    machine.folder.parent.mkdir()
    (machine.folder.parent / "gitconfig").write_text(
        "[user]\nname = test\nemail = test@localhost\n"
    )
    origin = str(world / "origin")
    Project(world).run("git", "clone", "--quiet", "--branch", branch, origin, str(machine.folder))
    machine.run("git", "switch", "--quiet", "--create", name)
    return machine


def around_measuring(said: str) -> tuple[str, str]:
    """What was said before the first measurement began, and from then on."""
    head, found, rest = said.partition("Running stage 'measure@")
    assert found
    return head, rest


def before_measuring(said: str) -> str:
    return around_measuring(said)[0]


def printed(said: str) -> list[str]:
    return re.findall(r"^  ((?:git|dvc) .+)$", said, re.MULTILINE)


def test_what_is_printed_hands_over_a_nonce_drawn_here_before_measuring_and_then_the_half(
    world: Path,
) -> None:
    jax = new_machine(world, "jax")
    said = before_measuring(jax.measure("jax"))
    assert f"nonce {jax.short()}: drawn here, and not handed over yet." in said
    assert "Before the other machine measures its half:" in said
    # An attempt later it is still told, as long as it is not done.
    assert f"nonce {jax.short()}: drawn here, and not handed over yet." in jax.measure("jax")
    commands = printed(said)
    assert [command.split()[:2] for command in commands] == [
        ["git", "commit"],
        ["dvc", "push"],
        ["git", "push"],
    ]
    for command in commands:
        jax.shell(command)

    other = new_machine(world, "other", branch="jax")
    said, after = around_measuring(other.measure("jax"))
    assert f"nonce {jax.short()}: found, as dvc.lock names it" in said
    assert "drawn" not in said
    assert other.nonce() == jax.nonce()

    # The half itself, on a branch that nobody has pushed yet.
    commands = printed(after)
    assert [command.split()[:2] for command in commands] == [
        ["git", "commit"],
        ["dvc", "push"],
        ["git", "push"],
        ["git", "fetch"],
    ]
    for command in commands:
        other.shell(command)
    pushed = other.run("git", "--git-dir", str(world / "origin"), "rev-parse", "other").strip()
    assert pushed == other.head()
    assert other.run("git", "status", "--porcelain", "--untracked-files=no") == ""
    assert "in sync" in other.run("dvc", "status", "--cloud", "measure@jax-portable")


def test_a_nonce_that_is_in_the_lock_alone_is_drawn_anew_and_said_before_measuring(
    world: Path,
) -> None:
    jax = new_machine(world, "jax")
    jax.run("dvc", "repro", *PREPARED)
    jax.commit("committed, but nothing is pushed to the remote")
    jax.run("git", "push", "--quiet", "origin", "HEAD:main")

    pytorch = new_machine(world, "pytorch")
    said = before_measuring(pytorch.measure("jax"))
    assert "workload, checkpoint and nonce: not in the DVC remote" in said
    assert pytorch.nonce() != jax.nonce()
    told = (
        f"nonce {pytorch.short()}: drawn here in the place of {jax.short()}, which dvc.lock names"
    )
    assert told in said
    # As it says: the one machine pushes it, the other one takes its own back and begins again.
    advice = said.partition(told)[2].splitlines()[0]
    push, checkout = re.findall(r"`(.+?)`", advice)
    jax.shell(push)
    pytorch.shell(checkout)
    said = before_measuring(pytorch.measure("jax"))
    assert "workload: not in the DVC remote" in said
    assert f"nonce {jax.short()}: found" in said


def test_a_nonce_of_another_contract_is_drawn_anew_and_said_so(world: Path) -> None:
    jax = new_machine(world, "jax")
    jax.run("dvc", "repro", *PREPARED)
    before = jax.short()
    jax.run("dvc", "push", *PREPARED)
    jax.set_param("chunk_sizes", [1, 4])
    said = before_measuring(jax.measure("jax"))
    assert (
        f"nonce {jax.short()}: drawn here in the place of {before},"
        " because its inputs have changed."
    ) in said
    assert "Before the other machine measures its half:" in said


def test_halves_under_two_nonces_are_refused_in_one_line_that_mends_it(world: Path) -> None:
    jax, pytorch = (new_machine(world, name) for name in ("jax", "pytorch"))
    # The oracle, of the PyTorch half too, would need that environment.
    matrices = ["measure@pytorch-portable", "measure@pytorch-best_native"]
    jax.measure("jax")
    pytorch.run("dvc", "repro", *matrices)
    for machine, stages in ((jax, ["measure@jax-portable"]), (pytorch, matrices)):
        machine.run("dvc", "push", *PREPARED, *stages)
        machine.commit("a half")
        machine.run("git", "push", "--quiet", "origin", "HEAD")

    third = new_machine(world, "third")
    line = third.refused("tools.combine", "origin/jax", "origin/pytorch")
    assert line == (
        f"nonce was drawn on both sides (output data/nonce is {jax.short()} on origin/jax and"
        f" {pytorch.short()} on origin/pytorch): each half has a nonce of its own, so their"
        " requests differ and cannot be compared; run `dvc repro workload checkpoint nonce` on one"
        " machine, commit, `dvc push` and `git push`, and measure both halves after it, or keep one"
        " half and measure the other one again under its nonce (docs/two-machines.md)"
    )
    # What the page says to do to keep the JAX half.
    pytorch.run("git", "fetch", "--quiet")
    pytorch.shell("git checkout origin/jax -- dvc.lock")
    pytorch.run("dvc", "pull", *PREPARED)
    pytorch.run("dvc", "repro", *matrices)
    assert pytorch.nonce() == jax.nonce()
    pytorch.commit("the half, under the nonce of the other one")
    pytorch.run("git", "push", "--quiet", "origin", "HEAD")
    third.run("git", "fetch", "--quiet")
    line = third.refused("tools.combine", "origin/jax", "origin/pytorch")
    assert line.startswith("oracle was never run: ")
