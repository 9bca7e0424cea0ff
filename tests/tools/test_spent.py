"""What `make repro` says of its time, by matrices that were measured just now and earlier."""

from __future__ import annotations

import re
import time
from pathlib import Path

from bench import bench_contract, inside, make_bench
from click.testing import CliRunner

from stages.contract import parse_contract
from stages.documents.matrix import MATRIX_FILE, folder_of, read_matrix
from stages.measure.command import measure
from stages.plan.plan import make_plan
from tools.spent import main, split

SAID = re.compile(
    r"dvc repro took (\d+) s: server starts (\d+) s, passes with their warm-up (\d+) s,"
    r" everything else (\d+) s \((\d+)%\)\n"
)


def said(since: float) -> str:
    result = CliRunner().invoke(main, ["--since", str(since)])
    assert result.exit_code == 0, result.output
    return result.output


def test_starts_passes_and_the_rest_make_up_the_whole(tmp_path: Path) -> None:
    raw = bench_contract()
    make_bench(tmp_path, raw)
    with inside(tmp_path):
        assert said(time.time() - 100) == "", "nothing was measured"
        began = time.time()
        for view in ("portable", "best_native"):
            measure(make_plan(parse_contract(raw), "jax", view), folder_of("jax", view))
        found = SAID.fullmatch(said(began - 100))
        assert found is not None
        whole, starts, passes, rest, share = map(int, found.groups())
        runs = [
            read_matrix(folder_of("jax", view) / MATRIX_FILE).provenance.run
            for view in ("portable", "best_native")
        ]
        assert starts == round(sum(run.seconds.server_start for run in runs))
        # Each number is rounded by itself.
        assert abs(starts + passes + rest - whole) <= 2
        assert abs(100 * rest / whole - share) <= 2
        assert rest >= 100
        # The clock was set back meanwhile.
        assert split(runs, 0.001) is None
        # A matrix of an earlier run cost this one nothing.
        assert said(time.time() + 5) == ""
