"""What `docs/accelerators.md` says of each commit of sglang-jax can be planned, and started."""

from __future__ import annotations

import functools
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from bench import inside
from commands import documented
from contracts import ROOT
from targets import bare_folder, plans, raw_target

from stages.backends.registry import commit_trees, environment
from stages.contract import VIEWS, View
from stages.measure.servers.known_flags import unknown_flags
from stages.plan.plan import Plan

with inside(ROOT):
    COMMITS = commit_trees("sglang_jax")
    CHECKOUT = environment("sglang_jax").checkout
assert CHECKOUT is not None
SOURCE = os.environ.get(CHECKOUT.variable)


def settings(commit: str) -> list[str]:
    """The choices with which the page plans the TPU target for ``commit``."""
    start = "make plan TARGET=tpu_vs_gpu SET='"
    found = [
        command.text.removeprefix(start).removesuffix("'").replace("\\\n", " ")
        for command in documented()
        if command.where == "docs/accelerators.md" and command.text.startswith(start)
    ]
    (one,) = (text for text in found if f"launch.source.commit={commit}" in text)
    return shlex.split(one)


def planned(folder: Path, commit: str) -> dict[View, Plan]:
    made = plans(bare_folder(folder), raw_target("target=tpu_vs_gpu", *settings(commit)))
    return {view: made["jax", view] for view in VIEWS}


@functools.cache
def known_to(commit: str) -> list[str]:
    """Every flag that the commit's own parser names."""
    path = f"{COMMITS[commit]}:sgl_jax/srt/server_args.py"
    text = subprocess.run(
        ["git", "-C", str(SOURCE), "show", path], capture_output=True, text=True, check=True
    ).stdout
    return re.findall(r'"(--[a-z0-9-]+)"', text)


@pytest.mark.parametrize("commit", COMMITS)
def test_the_tpu_target_can_be_planned_with_the_settings_for_each_commit(
    tmp_path: Path, commit: str
) -> None:
    for plan in planned(tmp_path, commit).values():
        assert plan.commit == commit
        assert plan.device == "tpu"


@pytest.mark.skipif(not SOURCE, reason=f"{CHECKOUT.variable} names no repository")
@pytest.mark.parametrize("commit", COMMITS)
def test_each_commit_knows_the_flags_that_its_settings_leave(tmp_path: Path, commit: str) -> None:
    known = known_to(commit)
    assert "--precompile-token-paddings" in known
    for plan in planned(tmp_path, commit).values():
        assert unknown_flags(plan, known) == {}


@pytest.mark.skipif(not SOURCE, reason=f"{CHECKOUT.variable} names no repository")
def test_without_the_settings_later_commits_know_some_flags_no_more(tmp_path: Path) -> None:
    portable = plans(bare_folder(tmp_path), raw_target("target=tpu_vs_gpu"))["jax", "portable"]
    removed = known_to("7ca65bbd6d536700a18a3cd5cde760a831ce55be")
    assert {"multi-item-mask-impl", "multi-item-scoring-delimiter"} <= set(
        unknown_flags(portable, removed)
    )
