"""The Jobs' script, run on a repository whose `make measure` is quick; git and dvc are real."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import yaml
from git_server import served
from manifests import DEPLOY
from patience import PATIENCE_S, wait_for
from programs import find_program
from rules import RETRY_IS_VAIN

SCRIPT = DEPLOY / "job.sh"
VENV = Path(sys.executable).parent.parent
TOKEN = "a-token-nobody-may-see"

WORKLOADS = "workloads:\n  few: 8\n  many: 32\n"
PAIR = "pair:\n  candidate: jax\n  reference: pytorch\n"
FILES = {
    ".gitignore": ".venv\n/data\n",
    ".dvcignore": "",
    ".dvc/config": "[core]\n    analytics = false\n",
    ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
    "Makefile": f"""\
.venv/.complete:
\t@ln -s {VENV} .venv
measure: .venv/.complete
\t@. .venv/bin/activate && dvc repro --quiet workload checkpoint nonce \\
\t  $(if $(filter $(REFERENCE),$(BACKEND)),delimiters oracle) \\
\t  measure@$(BACKEND)-portable measure@$(BACKEND)-best_native
remotes:
\t@echo "object storage" && false
REFERENCE := $(shell sed -n 's/^  reference: //p' params.yaml)
""",
    "dvc.yaml": """\
stages:
  measure:
    matrix:
      backend: ["${pair.candidate}", "${pair.reference}"]
      view: [portable, best_native]
    cmd: bash measure.sh measure@${item.backend}-${item.view}
    deps: [data/nonce]
    outs: ['data/measure@${item.backend}-${item.view}']
  workload:
    cmd: bash measure.sh workload
    params: [workloads]
    outs: [data/workload]
  nonce:
    cmd: bash measure.sh nonce
    params: [chunk_sizes]
    outs: [data/nonce]
  checkpoint:
    cmd: bash measure.sh checkpoint
    outs: [data/checkpoint]
  delimiters:
    cmd: bash measure.sh delimiters
    outs: [data/delimiters]
  oracle:
    cmd: bash measure.sh oracle
    outs: [data/oracle]
""",
    "params.yaml": f"chunk_sizes: [1, 4]\n{WORKLOADS}{PAIR}",
    # What was done is told in the cache, and a stage hangs or fails where it is asked to.
    "measure.sh": """\
set -eu
mkdir -p data "$SCOREPARITY_CACHE"
echo "$1" >> "$SCOREPARITY_CACHE/done"
trap 'echo interrupted >> "$SCOREPARITY_CACHE/done"; exit 143' TERM
begun=$(wc -l < "$SCOREPARITY_CACHE/done")
if [ "$begun" = "${HANG_AT:-}" ]; then sleep 6000 & touch "$SCOREPARITY_CACHE/hangs"; wait; fi
if [ "$begun" = "${FAIL_AT:-}" ]; then exit 1; fi
if [ -n "${GIT_TOKEN:-}" ]; then echo "the measurement has the token" >&2; exit 1; fi
if [ "$1" = nonce ]; then echo "$RANDOM$RANDOM" > data/nonce; exit 0; fi
echo "result of $1" > "data/$1"
""",
}


def git(folder: Path, *arguments: str) -> str:
    """The output of git in ``folder``."""
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def dvc(folder: Path, *arguments: str) -> None:
    """Run dvc in ``folder``, as on the laptop of whoever prepares a job."""
    beside = folder.parent / f"{folder.name}-caches"
    environ = {
        **os.environ,
        "DVC_SITE_CACHE_DIR": str(beside),
        "SCOREPARITY_CACHE": str(beside),
        "SHELL": "/bin/bash",
    }
    command = [str(VENV / "bin" / "dvc"), *arguments, "--quiet"]
    subprocess.run(command, cwd=folder, env=environ, check=True)


@pytest.fixture(scope="module")
def committed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The quick repository, bare, as a git server has it, beside the remote with its nonce."""
    folder = tmp_path_factory.mktemp("committed") / "laptop"
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    git(folder, "init", "--quiet", "--initial-branch", "main")
    dvc(folder, "remote", "add", "--local", "--default", "shared", str(folder.parent / "remote"))
    dvc(folder, "repro", "nonce")
    dvc(folder, "push", "nonce")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "a quick measurement")
    bare = folder.parent / "origin.git"
    git(folder, "clone", "--quiet", "--bare", ".", str(bare))
    git(bare, "config", "http.receivepack", "true")
    return bare


@dataclass
class Job:
    """A job in a folder of its own: the git server's repository, the remote and the volume."""

    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    @property
    def origin(self) -> Path:
        return self.folder / "origin.git"

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def clone(self) -> Path:
        return self.work / "scoreparity"

    def start(self, **changes: str) -> subprocess.Popen[str]:
        """Start an attempt, with an environment as bare as a container's."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        environ = {
            "PATH": os.defpath,
            "HOME": str(home),
            "TMPDIR": str(self.folder),
            "DVC_SITE_CACHE_DIR": str(self.work / "dvc-site-cache"),
            "WORK": str(self.work),
            "REPOSITORY": str(self.origin),
            "REVISION": git(self.origin, "rev-parse", "main"),
            "DVC_REMOTE_URL": str(self.folder / "remote"),
            "BACKEND": "jax",
            **self.settings,
            **changes,
        }
        command = ["bash", str(SCRIPT)]
        return subprocess.Popen(
            command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, **changes: str) -> tuple[int, str]:
        """An attempt's exit code and output."""
        process = self.start(**changes)
        output, _ = process.communicate(timeout=PATIENCE_S)
        return process.returncode, output

    def until_it_hangs(self, process: subprocess.Popen[str]) -> None:
        """Wait until an attempt hangs in its measurement."""
        hangs = self.work / "cache" / "hangs"
        wait_for(lambda: hangs.exists() or process.poll() is not None)
        assert process.poll() is None, process.communicate()

    def done(self) -> list[str]:
        """The stages that were begun, in order."""
        path = self.work / "cache" / "done"
        return path.read_text().split() if path.exists() else []

    def branches(self) -> list[str]:
        """What the git server has besides `main`."""
        names = git(self.origin, "for-each-ref", "--format=%(refname:short)", "refs/heads")
        return [name for name in names.split() if name != "main"]

    def pulled(self, branch: str, *stages: str) -> dict[str, str]:
        """The results that somebody gets who has nothing but the branch and the remote."""
        reader = self.folder / "reader"
        git(self.folder, "clone", "--quiet", "--branch", branch, str(self.origin), str(reader))
        config = (
            f"[core]\n    remote = shared\n['remote \"shared\"']\n    url = {self.folder}/remote\n"
        )
        (reader / ".dvc" / "config.local").write_text(config)
        environ = {**os.environ, "DVC_SITE_CACHE_DIR": str(self.folder / "reader-site-cache")}
        command = [str(VENV / "bin" / "dvc"), "pull", "--quiet", *stages]
        subprocess.run(command, cwd=reader, env=environ, check=True)
        return {path.name: path.read_text() for path in sorted((reader / "data").iterdir())}

    @property
    def remote(self) -> Path:
        return self.folder / "remote"

    def stored(self) -> int:
        """How many files the remote has besides the nonce."""
        return sum(1 for p in self.remote.rglob("*") if p.is_file()) - 1

    def commit(self, **files: str) -> None:
        """Let `main` go on by a commit in which these files are others; no text, no file."""
        laptop = self.folder / "laptop"
        git(self.folder, "clone", "--quiet", str(self.origin), str(laptop))
        for name, text in files.items():
            path = laptop / name.replace("_", ".")
            if text:
                path.write_text(text)
            else:
                path.unlink()
        git(laptop, "commit", "--quiet", "--all", "--message", "a change")
        git(laptop, "push", "--quiet", "origin", "main")


def kill_all(process: subprocess.Popen[str]) -> None:
    """What happens to a container: every process is gone at once."""
    for one in [process, *psutil.Process(process.pid).children(recursive=True)]:
        # One may have ended since it was seen.
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()
    process.communicate()


@pytest.fixture
def job(committed: Path, tmp_path: Path) -> Iterator[Job]:
    shutil.copytree(committed, tmp_path / "origin.git")
    shutil.copytree(committed.parent / "remote", tmp_path / "remote")
    yield Job(tmp_path)
    # A failing test leaves nothing running either.
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if Path(process.cwd()).is_relative_to(tmp_path):
                process.kill()


# What a job runs; the nonce it has.
JAX = ("workload", "checkpoint", "measure@jax-portable", "measure@jax-best_native")
PYTORCH = (
    "workload",
    "checkpoint",
    "delimiters",
    "oracle",
    "measure@pytorch-portable",
    "measure@pytorch-best_native",
)


def test_a_half_is_measured_and_pushed_where_only_the_token_opens(job: Job) -> None:
    with served(job.folder, "somebody", TOKEN) as address:
        job.settings = {
            "REPOSITORY": f"{address}/origin.git",
            "GIT_USERNAME": "somebody",
            "GIT_TOKEN": TOKEN,
        }
        code, output = job.run()
        assert code == 0, output
        again, output_again = job.run()
    (branch,) = job.branches()
    revision = git(job.origin, "rev-parse", "main")
    assert branch == f"measured-jax-{revision[:12]}"
    assert git(job.origin, "rev-parse", f"{branch}^") == revision
    assert git(job.origin, "diff", "--name-only", "main", branch) == "dvc.lock"
    pulled = job.pulled(branch, "nonce", *JAX)
    assert re.fullmatch(r"[0-9]+\n", pulled.pop("nonce"))
    assert pulled == {name: f"result of {name}\n" for name in sorted(JAX)}
    assert nonce_of(job, branch) == nonce_of(job, "main"), "the other half's, too"
    assert f"git fetch && make combine FROM='origin/{branch} origin/OTHER_BRANCH'" in output
    # What is pushed is not measured again.
    assert (again, sorted(job.done())) == (0, sorted(JAX)), output_again
    assert "nothing is left to do" in output_again
    # The token is neither printed nor written.
    assert TOKEN not in output + output_again
    written = [p for p in job.work.rglob("*") if p.is_file() and not p.is_symlink()]
    assert not [p for p in written if TOKEN.encode() in p.read_bytes()]


def nonce_of(job: Job, revision: str) -> str:
    """The nonce's hash in a commit's lock."""
    text = git(job.origin, "show", f"{revision}:dvc.lock")
    return str(yaml.safe_load(text)["stages"]["nonce"]["outs"][0]["md5"])


REMEDY = (
    "run dvc repro workload checkpoint nonce, commit, dvc push workload checkpoint nonce,"
    " git push, and name that commit"
)


def test_a_nonce_that_is_not_in_the_remote_is_refused_before_anything_is_measured(
    job: Job,
) -> None:
    (stored,) = [p for p in job.remote.rglob("*") if p.is_file()]
    text = stored.read_text()
    stored.unlink()
    code, output = job.run()
    assert (code, job.done()) == (RETRY_IS_VAIN, []), output
    (line,) = [line for line in output.splitlines() if "both halves" in line]
    assert "its nonce is not in the DVC remote" in line
    assert "dvc push nonce where it was drawn" in line
    assert line.endswith(REMEDY)
    # As it says.
    stored.write_text(text)
    code, output = job.run()
    assert (code, "nonce" in job.done()) == (0, False), output


def test_a_remote_that_cannot_be_reached_is_tried_again_before_anything_is_measured(
    job: Job,
) -> None:
    (job.folder / "file").touch()
    for remote in (str(job.folder / "file" / "remote"), "http://127.0.0.1:9/remote"):
        code, output = job.run(DVC_REMOTE_URL=remote)
        assert code not in (0, RETRY_IS_VAIN), output
        assert job.done() == []
        (line,) = [line for line in output.splitlines() if "both halves" in line]
        assert "the nonce could not be pulled" in line


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"dvc_lock": ""}, "no nonce in its dvc.lock"),
        ({"dvc_lock": "schema: '2.0'\nstages: {}\n"}, "no nonce in its dvc.lock"),
        ({"params_yaml": f"chunk_sizes: [4]\n{WORKLOADS}{PAIR}"}, "was drawn for another contract"),
    ],
)
def test_a_revision_whose_nonce_would_be_drawn_by_each_half_is_refused(
    job: Job, files: dict[str, str], reason: str
) -> None:
    job.commit(**files)
    code, output = job.run()

    assert (code, job.done()) == (RETRY_IS_VAIN, []), output
    (line,) = [line for line in output.splitlines() if "both halves" in line]
    assert reason in line
    assert line.endswith(REMEDY)


def test_another_workload_is_measured_under_the_same_nonce(job: Job) -> None:
    other = f"chunk_sizes: [1, 4]\n{WORKLOADS}  more: 64\n{PAIR}"
    job.commit(params_yaml=other)
    code, output = job.run()

    assert code == 0, output
    (branch,) = job.branches()
    assert nonce_of(job, branch) == nonce_of(job, "main")
    assert "workload" in job.done()


def test_without_the_token_nothing_is_measured(job: Job) -> None:
    with served(job.folder, "somebody", TOKEN) as address:
        code, output = job.run(REPOSITORY=f"{address}/origin.git", GIT_TOKEN="another-token")
    assert code not in (0, RETRY_IS_VAIN)
    assert "another-token" not in output
    assert job.done() == []


def test_a_killed_attempt_is_gone_on_with_in_the_same_clone(job: Job) -> None:
    first = job.start(HANG_AT="3")
    job.until_it_hangs(first)
    busy, output = job.run()
    begun = job.done()
    assert (busy, len(begun)) == (1, 3), output
    assert "another attempt is running" in output
    kill_all(first)
    assert job.branches() == []
    # A new container gives the old one's process ids to others; git may have been killed too.
    lock = job.clone / ".dvc" / "tmp" / "rwlock"
    (blocked,) = json.loads(lock.read_text())["write"]
    lock.write_text(json.dumps({"write": {blocked: {"pid": os.getpid(), "cmd": "dvc repro"}}}))
    (job.clone / ".git" / "index.lock").touch()

    code, output = job.run()
    assert code == 0, output
    assert "continuing in" in output
    assert job.done()[:4] == [*begun, begun[-1]]
    assert len(job.done()) == len(JAX) + 1
    (branch,) = job.branches()
    assert set(job.pulled(branch, *JAX)) == set(JAX)


def test_a_signal_reaches_the_measurement_and_nothing_is_pushed(job: Job) -> None:
    process = job.start(HANG_AT="1")
    job.until_it_hangs(process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 128 + signal.SIGTERM
    assert "the next attempt continues from here" in output
    assert job.done()[1:] == ["interrupted"]
    assert (job.branches(), job.stored()) == ([], 0)


def test_a_failing_measurement_pushes_nothing_and_the_next_attempt_pushes_all(job: Job) -> None:
    job.settings = {"BACKEND": "pytorch", "LABEL": "again"}
    # An earlier attempt was killed while it cloned.
    (job.work / "scoreparity.part" / ".git").mkdir(parents=True)
    code, output = job.run(FAIL_AT="6")
    assert code == 1
    assert "nothing is pushed" in output
    assert (job.branches(), job.stored()) == ([], 0)
    begun = job.done()
    # Nor is the branch there before its data, which nobody can store in the place of a file.
    (job.folder / "file").touch()
    code, output = job.run(DVC_REMOTE_URL=str(job.folder / "file" / "remote"))
    assert (code, job.branches()) == (1, []), output
    assert "the matrices could not be stored" in output
    assert job.done() == [*begun, begun[-1]]

    code, output = job.run()
    assert code == 0, output
    assert job.done() == [*begun, begun[-1]]
    (branch,) = job.branches()
    assert re.fullmatch(r"measured-pytorch-[0-9a-f]{12}-again", branch)
    assert set(job.pulled(branch, *PYTORCH)) == set(PYTORCH)


def test_the_backends_are_those_of_the_contracts_pair(job: Job) -> None:
    pair = PAIR.replace("jax", "toy").replace("pytorch", "jax")
    job.commit(params_yaml=f"chunk_sizes: [1, 4]\n{WORKLOADS}{pair}")
    code, output = job.run(BACKEND="pytorch")
    assert code == RETRY_IS_VAIN
    assert "BACKEND: found pytorch; allowed: toy, jax" in output
    code, output = job.run(BACKEND="jax")
    assert code == 0, output
    assert "oracle" in job.done(), "jax is the reference now"
    (branch,) = job.branches()
    assert set(job.pulled(branch, "oracle", *JAX)) == {"oracle", *JAX}
    code, output = job.run(BACKEND="toy")
    assert code == 0, output
    assert {"measure@toy-portable", "measure@toy-best_native"} <= set(job.done())


def test_a_revision_without_a_pair_is_refused(job: Job) -> None:
    job.commit(params_yaml="chunk_sizes: [1, 4]\n", dvc_yaml="stages: {}\n")
    code, output = job.run()
    assert (code, job.done()) == (RETRY_IS_VAIN, [])
    assert "REVISION: its params.yaml names no pair of backends" in output


def test_anothers_branch_is_refused_before_anything_is_measured(job: Job) -> None:
    revision = git(job.origin, "rev-parse", "main")
    git(job.origin, "branch", f"measured-jax-{revision[:12]}", "main")
    code, output = job.run()

    assert code == RETRY_IS_VAIN
    assert "set LABEL" in output
    assert job.done() == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"REVISION": ""}, "REVISION is not set"),
        ({"WORK": ""}, "WORK is not set"),
        ({"BACKEND": "tpu"}, "BACKEND: found tpu; allowed: jax, pytorch"),
        ({"BACKEND": "../jax"}, "BACKEND: found ../jax; allowed: the key of a backend"),
        ({"REVISION": "main"}, "REVISION: found main; allowed: a whole commit id"),
        ({"REVISION": "0" * 40}, f"{'0' * 40} is not in"),
        ({"REPOSITORY": f"https://me:{TOKEN}@host/a.git"}, "REPOSITORY: holds a password"),
        ({"REPOSITORY": f"https://{TOKEN}@host/a.git"}, "REPOSITORY: holds a password"),
        ({"DVC_REMOTE_URL": f"ssh://me:{TOKEN}@host/a"}, "DVC_REMOTE_URL: holds a password"),
    ],
)
def test_what_no_attempt_could_mend_is_told_by_its_exit_code(
    job: Job, change: dict[str, str], message: str
) -> None:
    code, output = job.run(**change)

    assert code == RETRY_IS_VAIN
    assert message in output
    assert TOKEN not in output
    assert len(output.splitlines()) <= 2
    assert job.done() == []


@pytest.mark.parametrize("address", ["s3://bucket/folder", "gs://bucket/folder"])
def test_a_remote_in_object_storage_gets_its_client_first(job: Job, address: str) -> None:
    code, output = job.run(DVC_REMOTE_URL=address)

    assert code not in (0, RETRY_IS_VAIN)
    assert "object storage" in output
    assert job.done() == []


def test_the_clients_of_object_storage_go_with_the_harness() -> None:
    pins = [
        dict(re.findall(r"^([\w.-]+)==(\S+)", path.read_text(), re.MULTILINE))
        for path in (DEPLOY / "remotes.txt", DEPLOY.parent / "requirements.txt")
    ]
    clients, harness = pins

    assert {"dvc-s3", "dvc-gs", "dvc"} <= set(clients)
    assert {name: clients[name] for name in clients.keys() & harness.keys()} == {
        name: harness[name] for name in clients.keys() & harness.keys()
    }


def test_the_script_is_clean() -> None:
    shellcheck = find_program("shellcheck")
    done = subprocess.run([shellcheck, SCRIPT], capture_output=True, text=True)

    assert done.stdout == ""


def test_the_script_may_be_run_by_its_short_path() -> None:
    assert os.access(SCRIPT, os.X_OK)
    assert SCRIPT.samefile(DEPLOY / "base" / "job.sh")
