"""A copy of this project in a git repository of its own, in which its commands can be run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from calling import call
from contracts import ROOT

PARTS = (
    *("backends", "conf", "models", "stages", "tools"),
    *(".dvc/config", ".dvcignore", ".gitignore", ".python-version"),
    *("Makefile", "dvc.yaml", "params.yaml", "requirements.txt"),
)


@dataclass(frozen=True)
class Project:
    """The copy, and the variables that its commands get besides this process's own."""

    folder: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def environ(self) -> dict[str, str]:
        """The environment of its commands; nothing of the user's git or caches is in it."""
        beside = self.folder.parent
        binaries = str(Path(sys.executable).parent)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        return {
            **kept,
            "PATH": binaries + os.pathsep + os.environ["PATH"],
            "GIT_CONFIG_GLOBAL": str(beside / "gitconfig"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "SCOREPARITY_CACHE": str(beside / "cache"),
            "DVC_SITE_CACHE_DIR": str(beside / "dvc-site-cache"),
            "DVC_NO_ANALYTICS": "1",
            # Whoever measures on this machine meanwhile is no concern of these tests.
            "TMPDIR": str(beside),
            **self.variables,
        }

    def run(self, *command: str, check: bool = True) -> str:
        """What a command says in it, errors included."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environ, capture_output=True, text=True
        )
        assert not check or done.returncode == 0, f"{command}:\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def shell(self, line: str) -> str:
        """What a command line says that somebody typed."""
        return self.run("bash", "-c", line)

    def module(self, name: str, *arguments: str, check: bool = True) -> str:
        """What `python -m NAME` says, called in this process, with the code of the work tree."""
        done = call(self.folder, name, *arguments, environ=self.environ)
        said = done.stdout + done.stderr
        assert not check or done.returncode == 0, f"{name} {arguments}:\n{said}"
        return said

    def refused(self, name: str, *arguments: str) -> str:
        """The one line in which it is refused."""
        said = self.module(name, *arguments, check=False)
        (line,) = re.findall(r"^error: (.*)$", said, re.MULTILINE)
        assert "Traceback" not in said
        return str(line)

    def head(self) -> str:
        """The commit that is checked out."""
        return self.run("git", "rev-parse", "HEAD").strip()

    def commit(self, message: str) -> None:
        """Commit everything."""
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--allow-empty", "-m", message)

    def params(self) -> dict[str, Any]:
        """The contract in force."""
        found: dict[str, Any] = yaml.safe_load((self.folder / "params.yaml").read_text())
        return found

    def set_param(self, key: str, value: Any) -> None:
        """Change one key of ``params.yaml``, as a user's editor would."""
        raw = section = self.params()
        *parts, last = key.split(".")
        for part in parts:
            section = section[part]
        section[last] = value
        (self.folder / "params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))


def somebody_elses(folder: Path) -> dict[str, str]:
    """Give ``folder`` to another user, and return the variables that git needs to see it so.

    Only root may give something away; git itself can be told to take anything for another's.
    """
    if os.getuid() != 0:
        return {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1"}
    subprocess.run(["chown", "--recursive", "12345", folder], check=True)
    return {}


def make_project(folder: Path) -> Project:
    """The project as it is in the work tree, in ``folder``, committed once."""
    folder.mkdir(parents=True)
    made = Project(folder)
    (folder.parent / "gitconfig").write_text("[user]\nname = test\nemail = test@localhost\n")
    for name in PARTS:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(exist_ok=True)
        if source.is_dir():
            # With its byte code, which git ignores: every copy would compile it anew.
            shutil.copytree(source, target)
        else:
            shutil.copy2(source, target)
    made.run("git", "init", "--quiet", "--initial-branch", "main")
    made.commit("the project")
    return made
