"""A user's shell decides nothing: commands do the same in a hostile shell as in a plain one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import comparisons as build
import pytest
import yaml
from bench import bench_contract, inside, make_bench
from calling import call
from contracts import ROOT, contract, raw_contract
from hostile import ASCII, COMPUTING, NOTEBOOK, OF_THE_MACHINE, PROXIES, hostile, module, plain

from stages.common.git import code_version, git
from stages.common.shell import clean_environ, kind_of, server_variables, uv_environ
from stages.documents.matrix import COMPARISON_FILE, read_matrix
from stages.environments.build import cache_root

JAX = {1: 40.0, 2: 90.0, 4: 110.0}
FASTER = {size: 1.5 * rate for size, rate in JAX.items()}
PYTORCH = {1: 100.0, 2: 150.0, 4: 200.0}
ACCENTS = "Quota épuisé: 0 GPUs, 5 €"


def write_comparison(path: Path, jax: dict[int, float]) -> None:
    views = [build.speeds(view, jax, PYTORCH) for view in ("portable", "best_native")]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(build.comparison_set(build.comparison(*views)).model_dump_json(), "utf-8")


def make_tree(beside: Path) -> Path:
    """A copy of what the commands read, a commit with a result, and another in the work tree."""
    folder = beside / "tree"
    folder.mkdir()
    for name in ("backends", "stages", "tools", "models", ".python-version", "requirements.txt"):
        (folder / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "conf", folder / "conf")
    for target in ("cpu", "tpu_vs_gpu"):
        path = folder / "conf" / "target" / f"{target}.yaml"
        told = path.read_text("utf-8").replace("unavailable: null", f'unavailable: "{ACCENTS}"', 1)
        path.write_text(told, "utf-8")
    shutil.copy(ROOT / "params.yaml", folder)
    write_comparison(folder / COMPARISON_FILE, JAX)
    # The same commit in every tree.
    dated = dict.fromkeys(("GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"), "2026-02-11T00:00:00Z")
    for command in (
        ["init", "--quiet"],
        ["add", "data", "stages"],
        ["-c", "user.name=n", "-c", "user.email=e@x", "commit", "--quiet", "-m", "a result"],
    ):
        subprocess.run(["git", *command], cwd=folder, env=plain() | dated, check=True)
    write_comparison(folder / COMPARISON_FILE, FASTER)
    return folder


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path)


def started(tree: Path, environ: dict[str, str], command: list[str]) -> tuple[int, bytes, bytes]:
    """How a command ends in the tree, and what it says."""
    own = {"SCOREPARITY_CACHE": str(tree.parent / "cache"), "TMPDIR": str(tree.parent)}
    done = subprocess.run(command, cwd=tree, env=environ | own, capture_output=True)
    return done.returncode, done.stdout, done.stderr


type Command = Callable[[Path, dict[str, str], list[str]], tuple[int, bytes, bytes]]
type Run = Callable[[dict[str, str], list[str]], tuple[int, bytes, bytes]]


@pytest.fixture
def run(tree: Path) -> Run:
    return partial(started, tree)


def files(folder: Path) -> dict[str, bytes]:
    """What was written, but for the time it was written."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "provenance.json"
    }


COMMANDS: dict[str, list[str]] = {
    "workload": module("stages.workload"),
    "checkpoint": module("stages.checkpoint"),
    "compose": module("tools.compose", "target=tpu_vs_gpu", "gate.max_abs_diff=2e-2"),
    "compose, refused": module("tools.compose", "no.such.key=1"),
    "dry_run": module("tools.plan", "target=cpu"),
    "dry_run, accelerators": module("tools.plan", "target=tpu_vs_gpu"),
    "report": module("stages.report"),
    "diff": module("tools.diff", "HEAD"),
    "diff, nothing to compare": module("tools.diff", "HEAD", "HEAD"),
    "compare, without matrices": module("stages.compare"),
}


@dataclass(frozen=True)
class Outcome:
    """What a command did: how it ended, what it said, and what it left."""

    code: int
    said: bytes
    errors: list[bytes]
    written: dict[str, bytes]
    params: bytes


def called(tree: Path, environ: dict[str, str], command: list[str]) -> tuple[int, bytes, bytes]:
    """The same, called in this process: what a plain shell sees need not be imported anew."""
    own = {"SCOREPARITY_CACHE": str(tree.parent / "cache"), "TMPDIR": str(tree.parent)}
    _, _, name, *arguments = command
    done = call(tree, name, *arguments, environ=environ | own)
    return done.returncode, done.stdout.encode(), done.stderr.encode()


def outcome(tree: Path, environ: dict[str, str], name: str, run: Command = started) -> Outcome:
    code, said, complained = run(tree, environ, COMMANDS[name])
    assert b"Traceback" not in complained, complained.decode()
    errors = [line for line in complained.splitlines() if line.startswith(b"error:")]
    left = files(tree / "data"), (tree / "params.yaml").read_bytes()
    shutil.rmtree(tree / "data" / "report", ignore_errors=True)
    return Outcome(code, said, errors, *left)


@pytest.fixture(scope="module")
def plain_report(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """The report that is written in a plain shell, which several shells are compared with."""
    return outcome(make_tree(tmp_path_factory.mktemp("plain")), plain(), "report", called)


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"report"}))
def test_a_command_in_a_hostile_shell_does_what_it_does_in_a_plain_one(
    tree: Path, tmp_path: Path, name: str
) -> None:
    found = outcome(tree, plain(), name, called)
    assert outcome(tree, hostile(tmp_path), name) == found
    wrong = {"compose, refused", "diff, nothing to compare", "compare, without matrices"}
    assert (found.code != 0) == (name in wrong)


def test_the_report_of_a_hostile_shell_is_that_of_a_plain_one(
    tree: Path, plain_report: Outcome, tmp_path: Path
) -> None:
    assert outcome(tree, hostile(tmp_path), "report") == plain_report
    assert plain_report.code == 0


@pytest.mark.parametrize("shell", [NOTEBOOK, {"MPLBACKEND": "foo"}, ASCII], ids=str)
def test_the_report_is_drawn_the_same_in_each_shell(
    tree: Path, plain_report: Outcome, shell: dict[str, str]
) -> None:
    found = outcome(tree, plain() | shell, "report")
    assert (found.code, plain_report.code) == (0, 0)
    assert len([name for name in found.written if name.startswith("report/")]) > 10
    assert found.written == plain_report.written


def test_the_doctor_judges_the_same_and_names_what_no_server_gets(
    tree: Path, run: Run, tmp_path: Path
) -> None:
    (tree / "params.yaml").write_text(
        yaml.safe_dump(raw_contract(backends__jax__unavailable=ACCENTS), allow_unicode=True),
        "utf-8",
    )
    found = []
    for environ in (plain(), hostile(tmp_path)):
        _, said, complained = run(environ, module("tools.doctor", "--json"))
        assert b"Traceback" not in complained, complained.decode()
        found.append(json.loads(said))
    # Load, memory and servers left over are the machine's of that moment.
    steady = {"contract", "Python", "platform", "harness", "git and dvc", "model", "lock", "shell"}
    for document in found:
        levels = {f["check"]: f["level"] for f in document["machine"]}
        assert {levels[name] for name in steady} == {"ok"}
    assert found[0]["backends"] == found[1]["backends"]
    (told,) = [f["found"] for f in found[1]["machine"] if f["check"] == "shell"]
    assert told.startswith("CUDA_LAUNCH_BLOCKING, JAX_DEFAULT_MATMUL_PRECISION, ")
    _, said, _ = run(hostile(tmp_path), module("tools.doctor"))
    assert ACCENTS in said.decode()
    assert b"\x1b" not in said, "no colours where no terminal shows them"


def test_a_record_of_the_doctor_keeps_what_a_latin_or_ascii_locale_cannot_read(
    tree: Path, run: Run
) -> None:
    """What is read in one encoding and written in another would be another contract."""
    text = yaml.safe_dump(
        raw_contract(
            backends__jax__unavailable="doctor: a reason that holds no longer",
            backends__pytorch__unavailable=ACCENTS,
        ),
        allow_unicode=True,
    )
    (tree / "params.yaml").write_text(text, "utf-8")
    code, _, complained = run(plain() | ASCII, module("tools.doctor", "--clear"))
    assert code == 0, complained.decode()
    after = (tree / "params.yaml").read_text("utf-8")
    assert after == text.replace("'doctor: a reason that holds no longer'", "null")


DUMPS = """\
import json, os, runpy, sys
with open({path!r}, "w") as file:
    json.dump(dict(os.environ), file)
sys.argv[0] = {server!r}
runpy.run_path({server!r}, run_name="__main__")
"""


def test_a_server_in_a_hostile_shell_gets_the_machine_s_variables_and_the_contract_s_alone(
    tmp_path: Path,
) -> None:
    folder, cache = tmp_path / "bench", tmp_path / "cache"
    raw: dict[str, Any] = bench_contract(passes__sweep=2, passes__confirm=1)
    launch = raw["backends"]["jax"]["launch"]
    program = tmp_path / "server.py"
    server = launch["entry"][0]
    program.write_text(DUMPS.format(path=str(tmp_path / "environ.json"), server=server))
    launch["entry"] = [str(program)]
    launch["environ"] = {"OMP_NUM_THREADS": "3", "PYTHONPATH": "backends/x", "TPU_WORKER_ID": "9"}
    make_bench(folder, raw)
    cache.mkdir()
    (cache / "environments").symlink_to(cache_root() / "environments")
    own = {"SCOREPARITY_CACHE": str(cache), "TMPDIR": str(tmp_path)}
    # The real one would be looked for by the server's Python too.
    machine = OF_THE_MACHINE | {"LD_LIBRARY_PATH": str(tmp_path)}
    done = subprocess.run(
        module("stages.measure", "jax", "portable"),
        cwd=folder,
        env=hostile(tmp_path) | machine | own,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    got = json.loads((tmp_path / "environ.json").read_text())
    wanted = machine | {"OMP_NUM_THREADS": "3", "TPU_WORKER_ID": "9"}
    assert {name: got.get(name) for name in wanted} == wanted
    assert got["PYTHONPATH"] == str(folder / "backends" / "x")
    computing = {name for name in COMPUTING if name != "OMP_NUM_THREADS"}
    assert not computing & got.keys()
    assert not {"PYTHONOPTIMIZE", "PYTHONWARNINGS", "VIRTUAL_ENV", "MPLBACKEND"} & got.keys()
    found = read_matrix(folder / "data/measure/jax-portable/matrix.parquet").provenance
    # The backend's own variable beside the contract's: it makes the server log compilations.
    assert found.run.environ == launch["environ"] | {"JAX_LOG_COMPILES": "1"}
    assert found.run.shell is not None
    assert found.run.shell.passed == {n: v for n, v in machine.items() if n != "TPU_WORKER_ID"}
    assert computing <= set(found.run.shell.left_out)
    assert "OMP_NUM_THREADS" not in found.run.shell.left_out
    (line,) = [text for text in done.stdout.splitlines() if "does not get" in text]
    assert "JAX_ENABLE_X64" in line
    assert "backends.jax.launch.environ" in line


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, "computes") for name in COMPUTING),
        *((name, "machine") for name in OF_THE_MACHINE),
        *((name, "other") for name in PROXIES),
        ("CUDA_MODULE_LOADING", "computes"),
        ("CUDA_VERSION", "machine"),
        ("TF_XLA_FLAGS", "computes"),
        ("TF_VAR_region", "other"),
        ("CUDA_MPS_PIPE_DIRECTORY", "machine"),
        ("NVIDIA_TF32_OVERRIDE", "computes"),
        ("LIBTPU_INIT_ARGS", "computes"),
        ("PYTHONPATH", "python"),
        ("CONDA_PREFIX", "python"),
        ("SCOREPARITY_API_KEY_JAX", "secret"),
        ("SCOREPARITY_CACHE", "other"),
        ("HF_TOKEN", "other"),
        ("TMPDIR", "other"),
    ],
)
def test_every_variable_is_of_one_kind(name: str, kind: str) -> None:
    assert kind_of(name) == kind
    assert (name in clean_environ({name: "x"})) == (kind in ("machine", "other"))


def test_what_the_contract_sets_the_shell_neither_passes_nor_loses() -> None:
    shell = {"CUDA_VISIBLE_DEVICES": "1", "JAX_PLATFORMS": "tpu", "OMP_NUM_THREADS": "4"}
    found = server_variables({"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}, shell)
    assert (found.passed, found.left_out) == ({}, ["OMP_NUM_THREADS"])


def test_no_secret_is_recorded() -> None:
    shell = {"HF_TOKEN": "hf_s3cr3t", "AWS_SECRET_ACCESS_KEY": "s3cr3t", "SGLANG_KEY": "s3cr3t"}
    assert "s3cr3t" not in str(server_variables({}, shell))


def test_the_committed_contract_needs_nothing_of_a_shell() -> None:
    """What a server on the CPU must be told stands in the contract itself."""
    sections = contract().backends
    assert sections["jax"].launch.environ["JAX_PLATFORMS"] == "cpu"
    assert sections["pytorch"].launch.environ["CUDA_VISIBLE_DEVICES"] == ""


def test_a_git_hook_s_variables_lead_to_no_other_repository(tree: Path, monkeypatch) -> None:
    """`git rebase --exec` and hooks set them, and they win over any folder."""
    with inside(tree):
        found = code_version()
    assert found.commit is not None
    assert found.changed is True
    monkeypatch.setenv("GIT_DIR", str(ROOT / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(ROOT))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tree / "no-index"))
    with inside(tree):
        assert code_version() == found
    assert git("rev-parse", "HEAD", folder=tree).strip() == found.commit


def test_uv_gets_where_to_fetch_and_nothing_else() -> None:
    kept = {
        "UV_INDEX_URL": "https://mirror/simple",
        "UV_DEFAULT_INDEX": "https://mirror/simple",
        "UV_CACHE_DIR": "/cache",
        "UV_NATIVE_TLS": "1",
        "UV_HTTP_TIMEOUT": "300",
        "HTTPS_PROXY": "http://proxy:3128",
        "SSL_CERT_FILE": "/etc/ca.pem",
    }
    dropped = {
        "UV_PYTHON": "3.9",
        "UV_SYSTEM_PYTHON": "1",
        "UV_TARGET": "/x",
        "UV_CONSTRAINT": "c.txt",
        "UV_OVERRIDE": "o.txt",
        "UV_EXCLUDE_NEWER": "2020-01-01",
        "UV_TORCH_BACKEND": "auto",
        "UV_WORKING_DIR": "/x",
        "UV_PROJECT_ENVIRONMENT": "/x",
        "UV_NO_BINARY": "1",
        "VIRTUAL_ENV": "/x",
        "CONDA_PREFIX": "/x",
        "PYTHONPATH": "/x",
    }
    assert uv_environ(kept | dropped) == kept


def test_uv_installs_into_the_python_it_is_told_in_a_hostile_shell(tmp_path: Path) -> None:
    """The real uv, as the backends' environments are made; nothing is fetched."""
    script = (
        "from stages.environments.build import _uv_succeeds as uv; import sys\n"
        f"made = uv('venv', '--quiet', '--python', sys.executable, {str(tmp_path / 'made')!r})\n"
        "sys.exit(not (made and uv('pip', 'check', '--python', sys.argv[1])))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "made" / "bin" / "python")]
    environ = hostile(tmp_path) | {"UV_OFFLINE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    version = "import sys; print(sys.version_info[:3])"
    made = [str(tmp_path / "made" / "bin" / "python"), "-c", version]
    assert subprocess.run(made, capture_output=True, text=True).stdout.strip() == str(
        sys.version_info[:3]
    )


def test_a_relative_cache_folder_of_the_desktop_s_counts_for_nothing(monkeypatch) -> None:
    monkeypatch.delenv("SCOREPARITY_CACHE", raising=False)
    monkeypatch.setenv("HOME", "/home/a")
    monkeypatch.setenv("XDG_CACHE_HOME", "cache")
    assert cache_root() == Path("/home/a/.cache/scoreparity")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_root() == Path("/caches/scoreparity")
