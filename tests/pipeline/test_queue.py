"""Two experiments of dvc's queue on one machine, with the scoring server as the backend."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from bench import hold, inside
from patience import PATIENCE_S
from pipelines import Pipeline

from stages.contract import load_contract
from stages.documents.nonce import NONCE_FILE, read_nonce
from stages.environments.build import cache_root
from tools.compose import composed

STAGE = "measure@jax-portable"
SOURCE = "backends.jax.launch.source.commit"
SETTING = "backends.jax.best_native.flags.multi-item-score-from-cache-v2-items-per-step"
COMMITS = [
    "a3d23b721dfbb9a21775aa222a8fdeb404e26ebe",
    "93499579c9d462024dba1b7c20f69819ffc1a04c",
    "0c2836898fd0b9c0fd53213fd9e0c5a032e94c77",
]


@pytest.fixture
def clone(tree: Pipeline, tmp_path: Path) -> Pipeline:
    """A clone of the repository with a queue of its own."""
    subprocess.run(["git", "clone", "--quiet", tree.folder, tmp_path / "clone"], check=True)
    made = Pipeline(tmp_path / "clone")
    for key, value in (("user.name", "test"), ("user.email", "test@localhost")):
        made.run("git", "config", key, value)
    return made


@pytest.fixture
def queueing(clone: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pipeline:
    """The clone, whose servers answer without a model, and when they may."""
    made = clone
    path = made.folder / "conf" / "target" / "cpu.yaml"
    head, _, _ = path.read_text().partition("\n")
    raw = yaml.safe_load(path.read_text())
    entry = ["tests/support/scoring_server.py", "--hold", str(made.folder.parent / "held")]
    launch = {"entry": entry, "environ": {}}
    raw["backends"]["jax"]["launch"] |= launch
    path.write_text(f"{head}\n{yaml.safe_dump(raw, sort_keys=False)}")
    made.run(sys.executable, "-m", "tools.compose")
    made.run("dvc", "repro", "workload", "checkpoint", "nonce")
    made.commit("the scoring server")
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "environments").symlink_to(cache_root() / "environments")
    monkeypatch.setenv("SCOREPARITY_CACHE", str(cache))
    return made


def run_queue(
    pipeline: Pipeline,
    name: str,
    confirms: tuple[int, int],
    met: Callable[[dict[str, str]], bool],
) -> dict[str, str]:
    """Queue two experiments, work on both at once; each one's name and how it ended.

    None can end its measurement before they have ``met``, by how both stand then.
    """
    over = ",".join(map(str, confirms))
    held = pipeline.folder.parent / "held"
    made = load_contract(pipeline.folder / "params.yaml")
    # Another number of confirm passes is no other nonce, so it is known which calls to hold.
    hold(held, made, ("probe", 0, 0), nonce=read_nonce(pipeline.folder / NONCE_FILE))
    pipeline.run(
        *("dvc", "exp", "run", "--queue", "--name", name, "-S", f"passes.confirm={over}", STAGE)
    )
    # The workers hold what they inherit, and a pipe has no end before theirs.
    subprocess.run(
        ["dvc", "queue", "start", "--jobs", "2"],
        cwd=pipeline.folder,
        env=pipeline.environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    deadline = time.monotonic() + 3 * PATIENCE_S
    while True:
        found = {one: end for one, end in pipeline.queue().items() if one.startswith(name)}
        if held.exists() and met(found):
            held.unlink()
        if len(found) == 2 and set(found.values()) <= {"Success", "Failed"}:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(1)


def test_a_sweep_over_commits_queues_a_task_for_each_with_that_commit_in_its_contract(
    clone: Pipeline,
) -> None:
    choices = ["target=cpu_multi_item", f"~{SETTING}"]
    swept = [*choices, f"{SOURCE}={','.join(COMMITS)}"]
    clone.run(
        *("dvc", "exp", "run", "--queue", "--name", "commit"),
        *(word for choice in swept for word in ("-S", choice)),
    )
    with clone.opened() as repo:
        queued = [(one.name, one.stash_rev) for one in repo.experiments.celery_queue.iter_queued()]
    assert [name for name, _ in queued] == ["commit-1", "commit-2", "commit-3"]
    contracts = [clone.run("git", "show", f"{stash}:params.yaml") for _, stash in queued]
    with inside(clone.folder):
        alone = [composed([*choices, f"{SOURCE}={commit}"]).decode() for commit in COMMITS]
    assert contracts == alone
    for contract, commit in zip(contracts, COMMITS, strict=True):
        assert contract.count(commit) == 1
        assert SETTING.rpartition(".")[2] not in contract
    assert clone.run("git", "status", "--porcelain") == "", "the work tree is as it was"


def test_two_queued_experiments_at_once_are_refused_or_wait_but_never_measure_together(
    queueing: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = run_queue(queueing, "refused", (2, 3), lambda found: "Failed" in found.values())
    assert sorted(ended.values()) == ["Failed", "Success"]
    (lost,) = [name for name, end in ended.items() if end == "Failed"]
    log = queueing.run("dvc", "queue", "logs", lost)
    (line,) = re.findall(r"^error: .*$", log, re.MULTILINE)
    assert re.fullmatch(
        rf"error: another measurement is running on this machine: {STAGE} in \S+, process \d+,"
        r" since \S+; stop it, or wait for it with --wait \(under dvc: SCOREPARITY_WAIT=1\)",
        line,
    )
    assert "Traceback" not in log
    monkeypatch.setenv("SCOREPARITY_WAIT", "1")

    def one_waits(_: dict[str, str]) -> bool:
        # What `dvc queue logs` shows.
        logs = queueing.folder.glob(".dvc/tmp/exps/run/*/*.out")
        return any("jax-portable: waiting for " in log.read_text() for log in logs)

    ended = run_queue(queueing, "waited", (4, 5), one_waits)
    assert set(ended.values()) == {"Success"}
    logs = [queueing.run("dvc", "queue", "logs", name) for name in ended]
    waits = [re.findall(r"^jax-portable: waiting for .*$", log, re.MULTILINE) for log in logs]
    (told,) = [lines for lines in waits if lines]
    assert len(told) == 1, "it waited for one measurement, and says so once"
    assert f"{STAGE} in " in told[0]
    queueing.run("dvc", "queue", "stop", check=False)
