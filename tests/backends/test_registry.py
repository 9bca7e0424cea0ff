"""A folder in `backends/` is a backend; what is wrong with one is told in one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from bench import inside
from click.testing import CliRunner
from contracts import BACKENDS, ROOT, contract, raw_contract
from targets import plans

from stages.backends.declared import Shape
from stages.backends.registry import (
    declared,
    declared_backends,
    environment_names,
    oracle_environment,
    requirements_file,
)
from stages.common.errors import ContractError, UserError
from stages.contract import parse_contract
from stages.environments.build import checkout_of, environment_folder, needed
from stages.environments.command import main as build
from stages.plan.command_line import command_line
from tools.doctor.installed import find_environment
from tools.plan.command import main as dry_run

TOY = '''\
"""A backend that is as plain as can be."""

from stages.backends.declared import DeclaredBackend, DeclaredCheckout, DeclaredEnvironment, Packing


class Toy(DeclaredBackend):
    """It has a context and scores prompt by prompt."""

    key = "toy"
    title = "Toy"
    package = "toy-server"
    source = DeclaredCheckout("TOY_SOURCE", releases_on=("cpu",))
    environments = (DeclaredEnvironment("toy", "requirements.txt", checkout=source),)
    packs_by = {"pack": "nothing: multi_item says whether items are packed"}

    def derived_flags(self, shape, device):
        return {"context-length": shape.context_tokens}

    def packing(self, delimiter, pinned):
        return Packing({"pack": True}, delimiter)

    def scoring(self, settings, *, item_first, softmax):
        return ("packed" if settings.get("pack") else "separate"), None


BACKEND = Toy()
'''
TOY_ENVIRONMENT = 'DeclaredEnvironment("toy", "requirements.txt", checkout=source)'
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the backends, where a test may change them."""
    shutil.copytree(ROOT / "backends", tmp_path / "backends")
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    return tmp_path


def add(tree: Path, name: str, text: str) -> None:
    folder = tree / "backends" / name
    folder.mkdir()
    (folder / "backend.py").write_text(text)
    (folder / "requirements.txt").write_text("toy-server==1.0 \\\n    --hash=sha256:00\n")


def refusal(tree: Path) -> str:
    with inside(tree), pytest.raises(UserError) as caught:
        declared_backends()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_backends_of_this_repository_are_those_a_contract_has_sections_for() -> None:
    assert tuple(declared_backends()) == BACKENDS
    folders = {path.parent.name for path in ROOT.glob("backends/*/*.txt")}
    assert {requirements_file(name).parent.name for name in environment_names()} == folders


@pytest.mark.parametrize("name", environment_names())
def test_every_environments_requirements_are_there(name: str) -> None:
    assert (ROOT / requirements_file(name)).is_file()


@pytest.mark.parametrize("name", ["_old", ".toy"])
def test_a_folder_that_is_put_aside_is_no_backend(tree: Path, name: str) -> None:
    add(tree, name, TOY)
    with inside(tree):
        assert tuple(declared_backends()) == BACKENDS


def test_a_third_backend_is_one_folder(tree: Path) -> None:
    add(tree, "toy", TOY)
    raw = raw_contract(
        backends__jax__launch__environment="toy",
        backends__jax__launch__source={"commit": COMMIT},
        backends__jax__launch__entry=["-m", "toy"],
    )
    with inside(tree):
        assert tuple(declared_backends()) == (*BACKENDS, "toy")
        made = parse_contract(raw)
        commits = {name: launch.commit for name, launch in needed(made).items()}
        assert commits == {"toy": COMMIT, "sglang_pytorch": None}
        assert requirements_file("toy") == Path("backends/toy/requirements.txt")
        assert environment_folder("toy").name.startswith("toy-")
        assert find_environment("toy").pinned == {"toy-server": "1.0"}
        checkout = checkout_of("toy")
        assert checkout is not None
        assert (checkout.package, checkout.variable) == ("toy-server", "TOY_SOURCE")
        assert checkout.key == "backends.toy.launch.source.commit"
        assert oracle_environment() == "sglang_pytorch", "the oracle stays where it is"
        toy = declared("toy")
        flags = toy.derived_flags(Shape(136, 8, 32, None, False, 0), "cpu")
        packing = toy.packing(9999, None)
        assert command_line({**flags, **packing.flags}) == ["--context-length", "160", "--pack"]
        assert toy.scoring(packing.flags, item_first=False, softmax=True)[0] == "packed"
    with pytest.raises(ContractError, match="found 'toy'; allowed: 'sglang_jax', "):
        parse_contract(raw)


def test_a_dry_run_tells_a_third_backends_environment(tree: Path) -> None:
    add(tree, "toy", TOY)
    raw = raw_contract(
        backends__jax__launch__environment="toy",
        backends__jax__launch__entry=["-m", "toy"],
    )
    with inside(tree):
        made = plans(tree, raw)
        (tree / "params.yaml").write_text(yaml.safe_dump(raw))
        said = CliRunner().invoke(dry_run, [])
    assert made["jax", "portable"].environment == "toy"
    assert said.exit_code == 0
    assert "/toy-" in said.stdout, "the folders of its caches"


def test_a_flag_by_which_a_third_backend_packs_is_no_flag_of_a_contract(tree: Path) -> None:
    raw = raw_contract()
    raw["backends"]["jax"]["best_native"]["flags"]["pack"] = True
    with inside(tree):
        parse_contract(raw)
    other = tree / "other"
    shutil.copytree(tree / "backends", other / "backends")
    add(other, "toy", TOY)
    with inside(other), pytest.raises(ContractError) as caught:
        parse_contract(raw)
    assert "backends.jax.best_native.flags.pack: found True; allowed: nothing: multi_item" in str(
        caught.value
    )


def test_a_third_backend_that_declares_no_entry_gets_one_from_the_contract(tree: Path) -> None:
    add(tree, "toy", TOY)
    raw = raw_contract(backends__jax__launch__environment="toy")
    with inside(tree), pytest.raises(ContractError) as caught:
        parse_contract(raw)
    assert str(caught.value) == (
        "params.yaml: backends.jax.launch.entry: found None; allowed: a list: no entry of its own"
        " is declared for toy"
    )


def test_a_third_backend_takes_a_release_alone_where_it_declares_no_checkout(tree: Path) -> None:
    add(tree, "toy", TOY.replace(", checkout=source", ""))
    raw = raw_contract(
        backends__jax__launch__environment="toy",
        backends__jax__launch__source={"commit": COMMIT},
    )
    with inside(tree), pytest.raises(ContractError) as caught:
        parse_contract(raw)
    assert "allowed: null: toy is installed from a release" in str(caught.value)


@pytest.mark.parametrize("found", ["sglang", "", 5, None, ["sglang_jax"], True])
def test_an_environment_that_nobody_declares_is_refused_with_those_there_are(found: object) -> None:
    with pytest.raises(ContractError) as caught:
        contract(backends__jax__launch__environment=found)
    assert str(caught.value) == (
        f"params.yaml: backends.jax.launch.environment: found {found!r}; allowed: 'sglang_jax',"
        " 'sglang_pytorch' or 'sglang_pytorch_gpu'"
    )


def test_who_builds_an_environment_that_nobody_declares_is_told_their_names(tree: Path) -> None:
    add(tree, "toy", TOY)
    with inside(tree):
        said = CliRunner().invoke(build, ["sglang"])
    assert said.exit_code == 2
    assert "'sglang' is not one of 'sglang_jax', 'sglang_pytorch', " in said.stderr
    assert "'toy'" in said.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("BACKEND = 5", "declares no BACKEND, an instance of a DeclaredBackend"),
        ("", "declares no BACKEND, an instance of a DeclaredBackend"),
        ("def (", "cannot be loaded: SyntaxError: "),
        ("import no_such_package", "cannot be loaded: ModuleNotFoundError: "),
        (TOY.replace("def scoring", "def scored"), "cannot be loaded: TypeError: "),
        (TOY.replace('    key = "toy"\n', ""), "declares no key"),
        (TOY.replace('    title = "Toy"\n', ""), "declares no title"),
        (TOY.replace('"toy-server"', '" "'), "declares no package"),
        (TOY.replace('key = "toy"', 'key = "a toy"'), "key 'a toy': small letters"),
        (TOY.replace("environments = (", "others = ("), "declares no environments"),
        (TOY.replace(TOY_ENVIRONMENT, '"toy"'), "environment 1 is no DeclaredEnvironment"),
        (
            TOY.replace('title = "Toy"', 'title = "A title without room here"'),
            "title 'A title without room here': up to 24 ASCII letters, digits, ",
        ),
        (TOY.replace('"Toy"', '"<b>Toy</b>"'), "title '<b>Toy</b>': up to 24 ASCII letters"),
        (TOY.replace('"Toy"', '"J|X"'), "title 'J|X': up to 24 ASCII letters"),
        (TOY.replace('"Toy"', '" Toy"'), "title ' Toy': up to 24 ASCII letters"),
        (TOY.replace('"Toy"', '"J\\nX"'), r"title 'J\nX': up to 24 ASCII letters"),
        (TOY.replace('"Toy"', '"Toy\\n"'), r"title 'Toy\n': up to 24 ASCII letters"),
        ("raise SystemExit(0)", "cannot be loaded: SystemExit: 0"),
        ("raise SystemExit", "cannot be loaded: SystemExit"),
        ("import sys; sys.exit('bye')", "cannot be loaded: SystemExit: bye"),
        (
            TOY.replace('key = "toy"', 'key = "toy2"'),
            "key 'toy2': it must be the name of its folder",
        ),
    ],
)
def test_a_broken_declaration_is_one_line_that_names_its_file(
    tree: Path, text: str, said: str
) -> None:
    add(tree, "toy", text)
    assert refusal(tree).startswith(f"backends/toy/backend.py: {said}")


def test_a_title_of_the_most_letters_is_allowed(tree: Path) -> None:
    title = "A title that has 24 char"
    add(tree, "toy", TOY.replace('"Toy"', f'"{title}"'))
    with inside(tree):
        assert declared("toy").title == title


def test_what_a_declaration_prints_is_not_mixed_with_what_a_command_answers(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(tree, "toy", f"print('hello')\n{TOY}")
    with inside(tree):
        assert "toy" in declared_backends()
    said = capsys.readouterr()
    assert said.out == ""
    assert "hello" in said.err


def test_a_declaration_may_hold_a_dataclass_of_its_own(tree: Path) -> None:
    size = "\n\n@dataclass(frozen=True)\nclass Size:\n    tokens: int\n"
    head = "from __future__ import annotations\nfrom dataclasses import dataclass\n"
    add(tree, "toy", f"{head}{TOY}{size}")
    with inside(tree):
        assert "toy" in declared_backends()


def test_two_backends_of_one_environment_are_one_line_that_names_both(tree: Path) -> None:
    add(tree, "toy", TOY)
    add(tree, "toy2", TOY.replace('key = "toy"', 'key = "toy2"'))
    both = "backends/toy/backend.py and backends/toy2/backend.py"
    assert refusal(tree) == f"{both} declare the same environment: toy"


def test_one_environment_serves_the_oracle(tree: Path) -> None:
    add(tree, "toy", TOY.replace("checkout=source", "serves_oracle=True, checkout=source"))
    with inside(tree), pytest.raises(UserError) as caught:
        oracle_environment()
    assert str(caught.value) == (
        "backends: one environment must serve the oracle; declared so: sglang_pytorch and toy"
    )


@pytest.mark.parametrize("word", ["tie", "none", "deferred", "both", "neither"])
def test_a_word_of_a_result_without_a_backend_is_no_key(tree: Path, word: str) -> None:
    add(tree, word, TOY.replace('key = "toy"', f'key = "{word}"'))
    assert refusal(tree).startswith(
        f"backends/{word}/backend.py: key '{word}': the comparison uses"
    )


def test_without_any_backend_the_line_says_where_to_run(tmp_path: Path) -> None:
    said = "backends: no */backend.py there; run this in the root of the repository"
    assert refusal(tmp_path) == said


def test_a_broken_declaration_ends_a_command_in_one_line(tree: Path) -> None:
    add(tree, "toy", "def (")
    (tree / "params.yaml").write_text(yaml.safe_dump(raw_contract()))
    with inside(tree):
        said = CliRunner().invoke(dry_run, [])
    assert said.exit_code == 1
    (line,) = said.stderr.splitlines()
    assert line.startswith("error: backends/toy/backend.py: cannot be loaded: SyntaxError")
