"""`python -m tools.diff` in a real repository: what it reads, says and refuses."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import comparisons as made
import pytest
import yaml
from click.testing import CliRunner, Result
from contracts import BACKENDS, ROOT
from markdown_it import MarkdownIt

from stages.contract import VIEWS, Backend, View
from stages.documents.comparison import (
    Comparison,
    ComparisonSet,
    MatrixSource,
    PassTime,
    Starts,
    ViewComparison,
)
from stages.documents.matrix import COMPARISON_FILE, Host, ShellVariables
from tools.diff.command import main
from tools.diff.conditions import ChangedCondition, changed_conditions, measured, measured_once
from tools.diff.words import NamedComparison, changes_markdown, signed

# Five passes that vary by a thousandth: every change of 5 % or more is significant.
STEADY = (0.999, 1.0, 1.001, 1.0, 1.0)
JAX = {1: 40.0, 8: 100.0}
PYTORCH = {1: 50.0, 8: 300.0}


def passes(size: int, seconds: list[float]) -> list[PassTime]:
    return [
        PassTime(
            chunk_size=size,
            phase="sweep",
            run=run,
            session=0,
            started_s=0.0,
            seconds=one,
            status="ok",
            compiled=None,
        )
        for run, one in enumerate(seconds)
    ]


def view(name: View, jax: dict[int, float], pytorch: dict[int, float]) -> ViewComparison:
    """Cells with these items/s, and passes that have them too."""
    cells = {"jax": jax, "pytorch": pytorch}
    times: dict[Backend, list[PassTime]] = {
        backend: [
            one
            for size, rate in cells[backend].items()
            for one in passes(size, [made.ITEMS / rate * share for share in STEADY])
        ]
        for backend in BACKENDS
    }
    return made.speeds(name, jax, pytorch, passes=times)


def result(
    jax: dict[int, float] = JAX, pytorch: dict[int, float] = PYTORCH, **changes: Any
) -> Comparison:
    """Both views alike."""
    return made.comparison(*(view(v, jax, pytorch) for v in VIEWS), **changes)


FASTER = {1: 40.0, 8: 131.0}


def test_a_run_that_took_more_from_the_prefix_cache_says_so_and_only_that_one() -> None:
    honest = result()
    caches = {
        "jax": made.prefix_cache("portable", most_tokens=4320, excess_passes=10),
        "pytorch": made.prefix_cache("portable"),
    }
    portable = honest.portable.model_copy(update={"prefix_cache": caches})
    (row,) = [
        line
        for line in text(honest, made.comparison(portable, honest.best_native)).splitlines()
        if "prefix cache" in line
    ]
    assert "prefix cache, JAX" in row
    assert "as allowed: of a pass's 4,352 prompt tokens none may come from it" in row
    assert "too much: " in row
    assert "4,320; more than allowed in 10 timed passes" in row
    assert "prefix cache" not in text(honest, honest)


def test_starts_that_differ_now_are_told_with_the_condition() -> None:
    honest = result(probe_starts=3)
    agree = {b: made.starts() for b in BACKENDS}
    differ = made.starts("differ", differing=[1, 3], largest_difference=0.38)

    def side(jax: Starts) -> Comparison:
        portable = honest.portable.model_copy(update={"starts": {**agree, "jax": jax}})
        return honest.model_copy(update={"portable": portable})

    (row,) = [
        line
        for line in text(side(agree["jax"]), side(differ)).splitlines()
        if "extra starts" in line
    ]
    assert "extra starts, JAX" in row
    assert "agree: 3 extra starts: answers differ from the measured session's by at most" in row
    assert "differ: scores depend on the server's start: 2 of 3 extra starts" in row
    assert "extra starts" not in text(side(differ), side(differ))
    before = text(result(), side(differ))
    assert "not asked for: the contract asks for no extra start" in before
    assert "passes.probe\\_starts" in before


def text(old: Comparison, new: Comparison, at_least: float = 0.05) -> str:
    return of_sets(made.comparison_set(old), made.comparison_set(new), at_least)


def of_sets(old: ComparisonSet, new: ComparisonSet, at_least: float = 0.05) -> str:
    return changes_markdown(NamedComparison("A", old), NamedComparison("B", new), at_least)


def conditions(old: Comparison, new: Comparison) -> list[ChangedCondition]:
    return changed_conditions(made.comparison_set(old), made.comparison_set(new))


def first(page: str) -> str:
    """The sentence under the heading."""
    return page.splitlines()[2].strip("*")


# What it says.


def test_the_first_sentence_names_what_changed_and_by_how_much() -> None:
    old, new = result(), made.comparison(view("portable", FASTER, PYTORCH), result().best_native)
    said = first(text(old, new))
    # PyTorch's and three of JAX's cells have the very same passes: one cell is compared.
    # Its error is 0.0007071 / sqrt(5) * sqrt(2) = 0.000447, t at 5 % and 8 degrees is 2.306:
    # 1.31 / 1.00103 and 1.31 * 1.00103 are both 31 % in whole percent.
    assert said == (
        "The one cell compared changed by more than the noise:"
        " JAX, portable view, chunk size 8 is 31% faster (31–31%)."  # noqa: RUF001
    )


def test_many_changes_are_told_by_the_three_largest() -> None:
    said = first(text(result(), result({1: 36.0, 8: 50.0}, {1: 60.0, 8: 303.0})))
    count, named = said.split(": ", 1)
    assert count == "6 of 8 cells changed by more than the noise and by 5% or more"
    halved, also_halved, risen, rest = named.split(". ")[0].split("; ")
    # Half the speed is further from 1 than 20 % more, and that than 10 % less.
    assert {halved, also_halved} == {
        f"JAX, {name} view, chunk size 8 is 50% slower (50–50%)"  # noqa: RUF001
        for name in ("portable", "best-native")
    }
    assert risen.endswith("view, chunk size 1 is 20% faster (20–20%)")  # noqa: RUF001
    assert rest == "1 more faster and 2 more slower"
    # PyTorch's chunk size 8 is 1 % faster in both views.
    assert said.endswith(". 2 changed significantly, but by less than 5%.")


def test_no_change_is_said_in_one_sentence() -> None:
    shuffled = result()
    flipped = {
        v.view: v.model_copy(update={"passes": {b: v.passes[b][::-1] for b in BACKENDS}})
        for v in shuffled.views()
    }
    again = shuffled.model_copy(update=flipped)
    assert first(text(shuffled, again)) == (
        "No cell changed by more than the noise (8 cells compared)."
    )


def of_one_cell(seconds: list[float]) -> Comparison:
    """A comparison of one cell with passes of these seconds."""
    cells = [made.cell("jax", "portable", 8, made.ITEMS * len(seconds) / sum(seconds))]
    mine = made.view_of("portable", cells, passes={"jax": passes(8, seconds), "pytorch": []})
    return made.comparison(mine, made.view_of("best_native", []))


def test_how_large_a_change_had_to_be_is_said() -> None:
    # One cell, judged at 5 %: t with 4 degrees is 2.776, the error 0.1633 (see test_welch.py),
    # and exp(2.776 * 0.1633) = 1.574.
    page = text(of_one_cell([8.0, 10.0, 12.0]), of_one_cell([4.0, 5.0, 6.0]))
    # A change of 57.2 % does not stand out, so the bound is rounded up.
    assert "only a change of more than 58% stands out in half of the cells compared" in page


def test_where_not_even_a_tenfold_change_stands_out_no_number_pretends_that_one_would() -> None:
    # Two passes on either side, one of each ten times as long as the other.
    page = text(of_one_cell([1.0, 10.0]), of_one_cell([2.0, 20.0]))
    assert (
        "At the noise of these passes, not even a tenfold change stands out in half of the cells"
        " compared. Measure more passes, or on a quieter machine."
    ) in page
    assert "only a change of more than" not in page


@pytest.mark.parametrize(
    ("at_least", "rate", "printed", "smallest"),
    [
        # 104.96 items/s are 4.96 % more than 100: below 5 %, and not to read as 5.0 %.
        (0.05, 104.96, "+4.96%", "5%"),
        (0.10, 109.96, "+9.96%", "10%"),
        (0.0525, 105.2, "+5.2%", "5.25%"),
        (0.0004, 100.03, "+0.03%", "0.04%"),
    ],
)
def test_a_change_too_small_to_count_reads_smaller_than_the_smallest_that_counts(
    at_least: float, rate: float, printed: str, smallest: str
) -> None:
    # Passes that vary so little that every change is significant.
    def side(items_per_s: float) -> Comparison:
        mine = view("portable", {8: items_per_s}, {8: 300.0})
        still = [made.ITEMS / items_per_s * share for share in (1, 1 + 1e-7, 1 - 1e-7, 1, 1)]
        times = {"jax": passes(8, still), "pytorch": []}
        return made.comparison(
            mine.model_copy(update={"passes": times}), made.view_of("best_native", [])
        )

    page = text(side(100.0), side(rate), at_least)
    assert f"| {printed} | " in page
    assert "too small to count |" in page
    assert first(page) == (
        f"The one cell compared did not change by {smallest} or more (1 cell compared)."
        f" 1 changed significantly, but by less than {smallest}."
    )
    assert f"a change of at least {smallest} that is significant" in page


def test_an_interval_that_leaves_out_zero_does_not_read_as_if_it_reached_it() -> None:
    low, high = (100 * (1 + share) for share in (0.0003, 0.2))
    assert [signed(share) for share in (low / 100 - 1, high / 100 - 1)] == ["+0.03%", "+20%"]
    assert [signed(share) for share in (0.0, -0.0004, 0.05, 0.0996)] == [
        "0.0%",
        "-0.04%",
        "+5.0%",
        "+10%",
    ]


def test_incomparable_runs_show_no_speed_but_winner_and_gate() -> None:
    old, new = result(), result(FASTER, model=made.TRAINED)
    page = text(old, new)
    assert first(page) == (
        "These runs cannot be compared: the new one has another model"
        " (untrained toy and Real/Model)."
    )
    assert "items/s" not in page
    assert "Items per second" not in page
    assert "131" not in page
    assert "| Portable | winner | PyTorch at chunk size 8 | PyTorch at chunk size 8 |" in page
    assert "2 of 2 JAX cells pass" in page


def sources(**changes: Any) -> list[MatrixSource]:
    return [made.source(b, v, **changes) for v in VIEWS for b in BACKENDS]


def host(**changes: Any) -> Host:
    fields: dict[str, Any] = dict(vars(made.source("jax", "portable").run.host))
    return Host(**{**fields, **changes})


def test_another_machine_is_compared_but_said_loudly() -> None:
    page = text(result(), result(FASTER, sources=sources(host=host(name="attic", cpus=96))))
    # Only chunk size 8 of JAX has other passes, in both views.
    assert first(page).startswith("2 of 2 cells changed by more than the noise: JAX")
    assert (
        "**NOT THE SAME MACHINE: host lab before, attic now; CPUs 2 before, 96 now."
        " A change of speed may be the machine's and not yours.**" in page
    )
    assert "NOT THE SAME MACHINE" not in text(result(), result(FASTER))


def test_a_failed_cell_and_a_lost_gate_are_told_with_their_reasons() -> None:
    old = result()
    wrong = made.cell(
        "jax", "portable", 1, 40.0, gate=made.gate("fail", 0.03, 0.004), eligible=False
    )
    dead = made.failed("pytorch", "portable", 8, "oom")
    portable = made.replaced(view("portable", FASTER, PYTORCH), wrong, dead)
    page = text(old, old.model_copy(update={"portable": portable}))
    assert "- Failed now: PyTorch, portable view, chunk size 8 (oom in 5 passes)." in page
    assert "- Gate, JAX, portable view, chunk size 1: pass before, fail now." in page
    assert "- Portable view: the winner was PyTorch and now is JAX." in page
    row = "| JAX, portable view, chunk size 1 | 1.00e-06 (pass) | 0.0300 (fail) | 0.02 |"
    assert row in page
    assert "| PyTorch | 8 | 300.0 | — | — | — | **failed now** |" in page


def test_every_table_of_the_page_is_one() -> None:
    # A bar in a name or a missing blank line would break a table up.
    old = result(sources=sources(argv=["p", "--a|b", "1"]))
    new = result(FASTER, sources=sources(argv=["p", "--a|b", "2"], dtype="b|f"))
    sides = (made.comparison_set(one) for one in (old, new))
    names = (NamedComparison(name, one) for name, one in zip(("x|y", "<b>"), sides, strict=True))
    page = changes_markdown(*names, 0.05)
    tokens = MarkdownIt("commonmark").enable("table").parse(page)
    widths: list[int] = []
    for token in tokens:
        if token.type == "tr_open":
            widths.append(0)
        if token.type in ("td_open", "th_open"):
            widths[-1] += 1
    # Two conditions, six rows of verdicts, two times four cells; and four heads.
    assert widths == [4] * 3 + [4] * 7 + [7] * 5 + [7] * 5
    for before, token in pairwise(tokens):
        assert before.type != "paragraph_open" or not token.content.startswith("|")


# What differs in the conditions.


def test_flags_versions_and_contract_keys_that_differ_are_listed_once() -> None:
    flags = ["python", "-m", "server", "--page-size", "16", "--fast", "--port", "2"]
    old = result()
    changed = [
        made.source(b, v, **({"argv": flags, "backend_version": "2.0"} if b == "jax" else {}))
        for v in VIEWS
        for b in BACKENDS
    ]
    new = result(sources=changed)
    scope = new.scope.model_copy(
        update={"sweep_passes": 9, "probe_starts": 3, "chunk_sizes": [1, 4]}
    )
    found = conditions(old, new.model_copy(update={"scope": scope}))
    assert [(d.name, d.where, d.before, d.after, d.host) for d in found] == [
        ("passes.sweep", "", "5", "9", False),
        ("passes.probe_starts", "", "0", "3", False),
        ("workloads.many chunk sizes", "", "1, 8", "1, 4", False),
        ("version", "JAX, both views", "1.2.3", "2.0", False),
        ("--page-size", "JAX, both views", "—", "16", False),
        ("--fast", "JAX, both views", "—", "set", False),
    ]


def of_commit(commit: str | None) -> Comparison:
    """JAX installed from a commit, as its sources say; PyTorch is the release."""
    installed = {
        "backend_commit": commit,
        "backend_version": "0.0.2" if commit is None else f"0.0.2+{commit[:12]}",
        "environment_sha256": f"{commit or 0:0<64}",
    }
    made_of = [
        made.source(b, v, **(installed if b == "jax" else {})) for v in VIEWS for b in BACKENDS
    ]
    return result(sources=made_of)


FEBRUARY = "93499579c9d462024dba1b7c20f69819ffc1a04c"
MARCH = "0c2836898fd0b9c0fd53213fd9e0c5a032e94c77"


@pytest.mark.parametrize(
    ("before", "after", "told", "cells"),
    [
        (FEBRUARY, MARCH, "93499579c9d4 → 0c2836898fd0", "| 93499579c9d4 | 0c2836898fd0 |"),
        (None, MARCH, "the release → 0c2836898fd0", "| — | 0c2836898fd0 |"),
    ],
)
def test_another_commit_of_a_backend_is_told_with_both_on_one_line(
    before: str | None, after: str, told: str, cells: str
) -> None:
    page = text(of_commit(before), of_commit(after))
    opening = page[: page.index("### Conditions")]
    assert f"\n- JAX is installed from another commit: {told}.\n" in opening
    assert page.count("installed from another commit") == 1
    assert f"| backends.jax.launch.source.commit | JAX, both views {cells}\n" in page
    assert "installed from" not in text(of_commit(before), of_commit(before))


def test_a_mend_that_only_one_contract_claims_is_a_condition() -> None:
    mended = [
        s.model_copy(update={"segment_mask_mended": s.backend == "jax"}) for s in result().sources
    ]
    assert [
        (d.name, d.where, d.before, d.after) for d in conditions(result(), result(sources=mended))
    ] == [("segment masks fixed, by the contract", "JAX, both views", "no", "yes")]


@pytest.mark.parametrize(
    "argv",
    [
        ["python", "-m", "server", "--port", "2"],
        ["/elsewhere/bin/python", "-m", "server", "--port", "1"],
        ["python", "-m", "server", "--port", "1", "--model-path", "/tmp/x"],
    ],
)
def test_what_follows_from_starting_anew_is_no_difference(argv: list[str]) -> None:
    again = sources(argv=argv, started_at="2026-03-01T10:00:00+00:00", git_commit="beef" * 10)
    assert conditions(result(), result(sources=again)) == []


def test_another_nonce_is_no_difference_and_hides_no_measurement_that_is_the_same() -> None:
    old, new = result(), result(nonce="f" * 16)
    assert conditions(old, new) == []
    assert len(measured_once(made.comparison_set(old), made.comparison_set(new))) == 4
    assert "f" * 16 not in text(old, new)


@pytest.mark.parametrize(("repeated", "said"), [(True, "yes"), (None, "not known")])
def test_requests_sent_twice_are_a_condition_where_a_prefix_cache_could_answer_them(
    repeated: bool | None, said: str
) -> None:
    found = conditions(result(), result(sources=sources(requests_repeated=repeated)))
    assert [(d.name, d.where, d.before, d.after, d.host) for d in found] == [
        (
            "requests sent twice to a prefix cache",
            "JAX, best-native view; PyTorch, best-native view",
            "no",
            said,
            False,
        )
    ]


def test_other_work_on_the_machine_is_a_condition_from_a_tenth_on() -> None:
    found = conditions(result(), result(sources=sources(foreign_cpu=0.25)))
    assert [(d.name, d.before, d.after) for d in found] == [
        ("CPU time taken by other work", "3%", "25%")
    ]
    assert conditions(result(), result(sources=sources(foreign_cpu=0.09))) == []


def test_another_gpu_or_other_libraries_are_a_condition_of_the_machine() -> None:
    before = ShellVariables(passed={"CUDA_VISIBLE_DEVICES": "0"}, left_out=["OMP_NUM_THREADS"])
    after = ShellVariables(passed={"CUDA_VISIBLE_DEVICES": "1"}, left_out=[])
    found = conditions(result(sources=sources(shell=before)), result(sources=sources(shell=after)))
    assert [(d.name, d.before, d.after, d.host) for d in found] == [
        ("CUDA_VISIBLE_DEVICES", "0", "1", True)
    ], "what no server got is no condition"


def test_dates_span_all_measurements() -> None:
    late = [
        made.source("jax", "portable", finished_at="2026-02-12T00:00:00+02:00"),
        made.source("pytorch", "portable", started_at="2026-02-11T09:00:00+00:00"),
    ]
    assert measured(made.comparison_set(result(sources=late))) == (
        "2026-02-11 09:00 UTC to 2026-02-11 22:00 UTC, at commit c0ffeec"
    )


# What it reads.


def run(folder: Path, *command: str) -> str:
    binaries = str(Path(sys.executable).parent)
    environ = {
        **os.environ,
        "PATH": binaries + os.pathsep + os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "DVC_SITE_CACHE_DIR": str(folder.parent / "dvc-site-cache"),
        "DVC_NO_ANALYTICS": "1",
    }
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def dumped(comparison: Comparison) -> str:
    return made.comparison_set(comparison).model_dump_json(indent=1)


def write(folder: Path, comparison: Comparison) -> None:
    path = folder / COMPARISON_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dumped(comparison))


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two commits, without and with a result, and another result in the work tree."""
    folder = tmp_path / "repository"
    folder.mkdir()
    run(folder, "git", "init", "-q", "-b", "main")
    run(folder, "git", "config", "user.name", "a")
    run(folder, "git", "config", "user.email", "a@b")
    run(folder, "git", "commit", "-q", "--allow-empty", "-m", "nothing yet")
    (folder / "backends").symlink_to(ROOT / "backends")
    write(folder, result())
    run(folder, "git", "add", ".")
    run(folder, "git", "commit", "-q", "-m", "a result")
    write(folder, result(FASTER))
    monkeypatch.chdir(folder)
    return folder


def diff(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def refused(*arguments: str) -> str:
    """The one line a refusal ends in."""
    done = diff(*arguments)
    assert done.exit_code == 1, done.output
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    return line


def test_the_command_compares_a_revision_with_the_work_tree(repository: Path) -> None:
    page = run(repository, sys.executable, "-m", "tools.diff", "HEAD")
    assert page.startswith("## Changes from `HEAD` to the work tree\n\n**2 of 2 cells changed")
    assert "| JAX | 8 | 100.0 | 131.0 | +31% | +31% to +31% | **faster** |" in page


def test_both_sides_may_be_revisions_or_files(repository: Path) -> None:
    run(repository, "git", "commit", "-qam", "faster")
    run(repository, "git", "tag", "v2")
    there, back = diff("HEAD~1", "v2"), diff("v2", "HEAD~1")
    assert there.stdout.startswith("## Changes from `HEAD~1` to `v2`\n")
    assert "**faster**" in there.stdout
    assert "**slower**" in back.stdout
    outside = repository.parent / "kept.json"
    outside.write_bytes((repository / COMPARISON_FILE).read_bytes())
    assert "**slower**" in diff(str(outside), "HEAD~1").stdout


def test_a_pipeline_in_a_folder_of_a_larger_repository_finds_its_own_result(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = repository / "inner"
    write(inner, result(FASTER))
    (inner / "backends").symlink_to(ROOT / "backends")
    run(repository, "git", "add", ".")
    run(repository, "git", "commit", "-qm", "inner")
    write(inner, result({1: 40.0, 8: 200.0}))
    monkeypatch.chdir(inner)
    assert "| JAX | 8 | 131.0 | 200.0 | +53%" in diff("HEAD").stdout


def test_an_experiment_is_found_by_its_name(repository: Path) -> None:
    run(repository, "git", "checkout", "-q", ".")
    (repository / "fast.json").write_text(dumped(result(FASTER)))
    stage = {
        "cmd": f"cp $(cat which) {COMPARISON_FILE}",
        "deps": ["which"],
        "outs": [{str(COMPARISON_FILE): {"cache": False}}],
    }
    (repository / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"compare": stage}}))
    (repository / "slow.json").write_text(dumped(result()))
    (repository / "which").write_text("slow.json")
    run(repository, "dvc", "init", "-q")
    run(repository, "dvc", "repro", "-q")
    run(repository, "git", "add", ".")
    run(repository, "git", "commit", "-qm", "pipeline")
    (repository / "which").write_text("fast.json")
    run(repository, "dvc", "exp", "run", "--name", "bigger-pages")
    run(repository, "git", "checkout", "-q", ".")
    assert "| JAX | 8 | 100.0 | 131.0 |" in diff("HEAD", "bigger-pages").stdout
    assert "| JAX | 8 | 131.0 | 100.0 |" in diff("bigger-pages").stdout
    # The same name under another commit: HEAD's is meant, and without one nothing is guessed.
    run(repository, "git", "commit", "-q", "--allow-empty", "-m", "on")
    head = run(repository, "git", "rev-parse", "HEAD").strip()
    named = f"refs/exps/{head[:2]}/{head[2:]}/bigger-pages"
    run(repository, "git", "update-ref", named, "HEAD")
    assert "both are the same document" in refused("bigger-pages")
    run(repository, "git", "commit", "-q", "--allow-empty", "-m", "and on")
    assert "experiments of several commits have this name" in refused("bigger-pages")


def test_the_result_can_be_written_to_a_file(repository: Path) -> None:
    done = diff("HEAD", "--output", "out/changes.md")
    assert (repository / "out" / "changes.md").read_text() == diff("HEAD").stdout
    assert done.stdout == "out/changes.md: changes from HEAD to workspace\n"


def test_the_smallest_change_that_counts_can_be_chosen(repository: Path) -> None:
    assert "No cell changed by 40% or more" in diff("HEAD", "--at-least", "40").stdout
    assert "too small to count" in diff("HEAD", "--at-least", "40").stdout
    assert refused("HEAD", "--at-least", "nan").startswith("error: --at-least nan")


# What it refuses.


def test_the_same_document_on_both_sides_is_refused(repository: Path) -> None:
    assert refused("HEAD", "main") == "error: nothing to compare: both are the same document"


def test_an_unknown_name_is_refused(repository: Path) -> None:
    assert refused("no-such") == (
        "error: no-such: neither a file, nor a git revision, nor a DVC experiment"
    )


def test_a_revision_without_a_result_is_refused(repository: Path) -> None:
    assert refused("HEAD~1") == (
        "error: HEAD~1: data/compare/comparison.json is not in this revision"
    )


def test_a_work_tree_without_a_result_is_refused(repository: Path) -> None:
    (repository / COMPARISON_FILE).unlink()
    assert refused("HEAD").startswith("error: data/compare/comparison.json: No such file")


def test_a_document_of_another_version_is_refused_by_its_revision(repository: Path) -> None:
    path = repository / COMPARISON_FILE
    path.write_text('{"version": 1}')
    run(repository, "git", "commit", "-qam", "old format")
    write(repository, result())
    assert refused("HEAD").startswith("error: HEAD: data/compare/comparison.json: version 1, but")


def test_outside_a_repository_a_path_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert refused("HEAD") == (
        "error: this folder is in no git repository; name a comparison.json instead"
    )
