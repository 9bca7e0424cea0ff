"""Every command that the pages and messages tell a reader to type is one that can be typed."""

from __future__ import annotations

import functools
import importlib.util
import re
import shlex
import subprocess

import pytest
import yaml
from bench import inside
from commands import Command, documented, told
from contracts import ROOT, pipeline
from dvc.cli import DvcParserError, parse_args
from dvc.utils.hydra import get_hydra_sweeps

from stages.contract import parse_contract
from tools.compose import composed

ALL = [*documented(), *told()]
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def of(program: str) -> list[Command]:
    return [command for command in ALL if command.program == program]


def identify(command: Command) -> str:
    return f"{command.where}: {command.text}"


@functools.cache
def stage_names() -> frozenset[str]:
    """The stages, those of the matrix one by one."""
    names = set()
    for name, stage in pipeline()["stages"].items():
        matrix = stage.get("matrix")
        names |= (
            {f"{name}@{b}-{v}" for b in matrix["backend"] for v in matrix["view"]}
            if matrix
            else {name}
        )
    return frozenset(names)


def filled_in(text: str) -> str:
    """A command with something in the place of what the reader fills in."""
    text = re.sub(r"(?:-S )?(?:…|\.\.\.)", "", text)
    text = re.sub(r"\[(?:OLD|TO=NEW|NEW|REF)[^']*\]+", "", text)
    return text.replace("COMMIT", COMMIT)


def measurable(choices: list[str]) -> None:
    """Whether ``conf/`` composes with the choices into a contract that can be measured."""
    with inside(ROOT):
        parse_contract(yaml.safe_load(composed(choices)))


def tasks(choices: list[str]) -> list[list[str]]:
    """The choices of each task that `dvc exp run --queue` makes of them: a sweep makes several."""
    path = "params.yaml"
    return [task[path] for task in get_hydra_sweeps({path: choices})]


def test_commands_are_found_on_every_page_and_in_messages() -> None:
    found = {command.where for command in ALL}
    assert {
        "README.md",
        "docs/accelerators.md",
        "docs/two-machines.md",
        "deploy/README.md",
    } <= found
    assert {"tools/combine/halves.py", "stages/documents/matrix.py"} <= found


def dry(text: str) -> str:
    """What make would run for a command line, as a shell hands it over."""
    make = 'make() { command make --dry-run --silent HARNESS= RUN= "$@"; }\n'
    done = subprocess.run(
        ["bash", "-c", make + text], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("command", of("make"), ids=identify)
def test_a_make_command_has_its_target_which_uses_each_of_its_variables(command: Command) -> None:
    text = filled_in(command.text)
    runs = dry(text)
    words = shlex.split(text)
    for word in words:
        if re.match(r"[A-Z]+=.", word):
            others = shlex.join(other for other in words if other != word)
            assert dry(others) != runs, f"{word} changes nothing"
    for line in runs.replace("\\\n", " ").splitlines():
        if re.search(r"tools\.(compose|plan)\b", line):
            measurable(shlex.split(line.partition("tools.")[2])[1:])


@pytest.mark.parametrize("command", of("dvc"), ids=identify)
def test_a_dvc_command_is_one_of_dvcs_on_stages_and_parameters_that_exist(
    command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    words = shlex.split(filled_in(command.text).replace("\\\n", " "))
    try:
        arguments = parse_args(words[1:])
    except DvcParserError:
        # A sentence may name a command without what it is given.
        assert "the following arguments are required" in caplog.text
        return
    for target in getattr(arguments, "targets", None) or []:
        assert target in stage_names() or target == "X", target
    choices = getattr(arguments, "set_param", None) or []
    for task in tasks(choices) if getattr(arguments, "queue", False) else [choices]:
        measurable(task)


@pytest.mark.parametrize("command", of("python"), ids=identify)
def test_a_python_command_names_a_module_that_exists(command: Command) -> None:
    _, option, module, *_ = shlex.split(filled_in(command.text))
    assert option == "-m"
    # The servers' own modules are in their environments.
    if not module.startswith(("sglang.", "sgl_jax.")):
        assert importlib.util.find_spec(module) is not None


ADVISED = [
    (path.parent.name, path.stem, override)
    for path in sorted((ROOT / "conf").glob("*/*.yaml"))
    for override in re.findall(r"#.*?-S ([^\s`]+)", path.read_text())
]


def test_there_is_advice_in_the_comments_of_the_targets() -> None:
    assert ("target", "tpu_vs_gpu", "contract=quick") in ADVISED


@pytest.mark.parametrize(("group", "name", "override"), ADVISED)
def test_what_a_comment_of_conf_advises_composes_with_its_file(
    group: str, name: str, override: str
) -> None:
    measurable([f"{group}={name}", override.replace("<40", COMMIT)])
