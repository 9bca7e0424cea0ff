"""Files that do not belong together are refused by name, in one line, and nothing is written."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from click.testing import CliRunner
from contracts import BACKENDS, NONCE, ROOT, WORKLOAD, contract, raw_several
from elsewhere import account, at_url
from matrices import matrix, passes, with_facts

from stages.common.errors import UserError
from stages.common.files import write_whole
from stages.compare.belonging import check_probes
from stages.compare.command import main
from stages.contract import VIEWS, Backend, MultiItem, View, parse_contract
from stages.contract.serving import Source
from stages.documents.matrix import (
    MATRIX_FILE,
    MATRIX_TABLE,
    MODEL_FILE,
    WORKLOAD_FILE,
    CallRecord,
    Provenance,
    folder_of,
)
from stages.documents.nonce import NONCE_FILE, write_nonce
from stages.documents.oracle import ORACLE_FILE, ORACLE_SCHEMA, ORACLE_TABLE, OracleProvenance
from stages.documents.probes import (
    PROBE_SCHEMA,
    PROBE_TABLE,
    PROBES_FILE,
    ProbeProvenance,
    ProbeRecord,
    ProbeTable,
    read_probes,
)
from stages.documents.tables import table_sha256
from stages.documents.workload import Workloads
from stages.environments.build import environment_sha256s, requirements_sha256
from stages.workload import build_workloads

MADE = contract(workload__items=4, chunk_sizes=[1, 2, 4], selection__resamples=100)
SCORED = build_workloads(MADE)
WORKLOADS = Workloads.of(SCORED)


GOOD = passes({1: 1.0, 2: 0.8, 4: 0.9})


def write_matrix(
    backend: Backend,
    view: View,
    change: Callable[[Provenance], Provenance] = lambda p: p,
    records: Sequence[CallRecord] = GOOD,
) -> None:
    made = matrix(
        backend,
        view,
        list(records),
        workload_sha256=WORKLOADS.sha256,
        sha256=WORKLOADS.sha256s[WORKLOAD],
        environment_sha256=requirements_sha256(MADE.backends[backend].launch.environment),
    )
    path = folder_of(backend, view) / MATRIX_FILE
    provenance = change(made.provenance)
    MATRIX_TABLE.write(path, made.calls.to_arrow().cast(MATRIX_TABLE.schema), provenance)
    rows = [
        ProbeRecord(WORKLOAD, 0, "isolation", layout, 0, 1, 0, 4, "ok", "", [0.5, 0.5])  # type: ignore[arg-type]
        for layout in ("alone", "reversed", "longer")
    ]
    table = pa.Table.from_pylist([asdict(r) for r in rows], schema=PROBE_SCHEMA)
    PROBE_TABLE.write(
        path.with_name(PROBES_FILE),
        table,
        ProbeProvenance(
            schema_version=PROBE_TABLE.version,
            workload_sha256=WORKLOADS.sha256,
            table_sha256=table_sha256(table),
            backend=backend,
            view=view,
            nonce=NONCE,
            model_sha256="b" * 64,
            matrix_sha256=made.provenance.table_sha256,
            session=0,
            targets={WORKLOAD: [1]},
        ),
    )


FIRST = {"phase": "sweep", "chunk_size": 1, "run": 0, "item": 0}


def write_oracle(**changes: Any) -> None:
    table = pa.Table.from_pylist(
        [{"workload": WORKLOAD, **FIRST, "scores": [0.5, 0.5]}], schema=ORACLE_SCHEMA
    )
    provenance = OracleProvenance(
        schema_version=ORACLE_TABLE.version,
        workload_sha256=WORKLOADS.sha256,
        table_sha256=table_sha256(table),
        model_sha256="b" * 64,
        nonce=NONCE,
        sample_seed=MADE.oracle.seed,
        samples_per_chunk=MADE.oracle.samples_per_chunk,
        dtype="float32",
        torch_version="1",
        transformers_version="1",
        threads=1,
        environment_sha256="e",
    )
    ORACLE_TABLE.write(ORACLE_FILE, table, provenance.model_copy(update=changes))


@pytest.fixture(autouse=True)
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everything `compare` reads, belonging together."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "backends").symlink_to(ROOT / "backends")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(MADE.model_dump(mode="json")))
    write_whole(WORKLOAD_FILE, SCORED.canonical_bytes())
    write_nonce(NONCE_FILE, NONCE)
    model = '{"title": "m", "sha256": "%s", "trained": true, "path": "p", "revision": "r"}'
    write_whole(MODEL_FILE, (model % ("b" * 64)).encode())
    for backend in BACKENDS:
        for view in VIEWS:
            write_matrix(backend, view)
    write_oracle()
    return tmp_path


def refusal() -> str:
    """The one line with which `compare` refuses."""
    done = CliRunner().invoke(main)
    assert done.exit_code == 1, done.output
    (line,) = done.stderr.splitlines()
    assert not Path("data/compare").exists(), "nothing may be written"
    return line


def test_what_belongs_together_is_compared(tree: Path) -> None:
    done = CliRunner().invoke(main)
    assert done.exit_code == 0, done.output
    assert (tree / "data/compare/comparison.json").exists()


def test_a_matrix_of_a_view_that_was_called_unavailable_since_is_refused(tree: Path) -> None:
    raw = MADE.model_dump(mode="json")
    raw["backends"]["jax"]["best_native"]["unavailable"] = "refuses a flag"
    (tree / "params.yaml").write_text(yaml.safe_dump(raw))
    line = refusal()
    assert "data/measure/jax-best_native/matrix.parquet: refused: its unavailability is" in line
    assert line.endswith("is None, but refuses a flag is compared here")


def changed(**changes: Any) -> Callable[[Provenance], Provenance]:
    return lambda provenance: with_facts(provenance, changes)


def measured(**changes: Any) -> Callable[[Provenance], Provenance]:
    return lambda p: p.model_copy(update={"contract": p.contract.model_copy(update=changes)})


JAX = "data/measure/jax-portable/matrix.parquet"
LAUNCH = MADE.backends["jax"].launch


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (changed(workload_sha256="f" * 64), "workloads is fff"),
        (changed(nonce="f" * 16), f"nonce is {'f' * 16}, but {NONCE} is compared here"),
        (changed(sha256="f" * 64), "hash of workload many is fff"),
        (changed(items=5), "number of items of workload many is 5, but 4 is compared here"),
        (changed(label_token_ids=[2753, 9454]), "labels of workload many is [2753, 9454]"),
        (changed(apply_softmax=False), "softmax of workload many is False"),
        (changed(chunk_sizes=[1, 2]), "chunk sizes of workload many is [1, 2]"),
        (changed(view="best_native"), "view is best_native"),
        (changed(backend="pytorch"), "backend is pytorch"),
        (changed(environment_sha256="f" * 64), "environment is fff"),
        (changed(schema_version=99), "schema version 99"),
        (measured(chunk_sizes=[1, 2]), "contract (chunk_sizes) is [1, 2]"),
        (measured(passes=MADE.passes.model_copy(update={"sweep": 9})), "contract (passes)"),
        (
            measured(limits=MADE.limits.model_copy(update={"restarts": 9})),
            "contract (limits)",
        ),
        (
            measured(launch=LAUNCH.model_copy(update={"dtype": "bfloat16"})),
            "contract (backends.jax.launch)",
        ),
        (
            measured(launch=LAUNCH.model_copy(update={"source": Source(commit="a" * 40)})),
            "contract (backends.jax.launch)",
        ),
        (
            measured(multi_item=MultiItem(delimiter_token_id=9999)),
            "contract (backends.jax.portable.multi_item) is delimiter_token_id=9999",
        ),
        (
            measured(flags={**MADE.backends["jax"].portable.flags, "page-size": 64}),
            "contract (backends.jax.portable.flags.page-size) is 64",
        ),
    ],
)
def test_a_matrix_of_something_else_is_refused(
    change: Callable[[Provenance], Provenance], what: str
) -> None:
    write_matrix("jax", "portable", change)
    line = refusal()
    assert line.startswith(f"error: {JAX}: ")
    assert what in line


def with_workloads(*names: str) -> Callable[[Provenance], Provenance]:
    """The one workload's facts under these names."""

    def change(provenance: Provenance) -> Provenance:
        one = provenance.workloads[WORKLOAD]
        return provenance.model_copy(update={"workloads": dict.fromkeys(names, one)})

    return change


@pytest.mark.parametrize(
    ("names", "found"),
    [
        ([], "[]"),
        (["few"], "['few']"),
        (["few", WORKLOAD], "['few', 'many']"),
    ],
)
def test_a_matrix_that_lacks_a_workload_or_has_another_is_refused(
    names: list[str], found: str
) -> None:
    write_matrix("jax", "portable", with_workloads(*names))
    assert refusal() == (
        f"error: {JAX}: refused: its workloads is {found}, but ['many'] is compared here"
    )


def test_a_matrix_with_calls_of_an_unknown_workload_is_refused_by_its_name() -> None:
    strange = passes({1: 1.0}, workload="other", position=50)
    write_matrix("jax", "portable", records=[*GOOD, *strange])
    assert refusal() == f"error: {JAX}: refused: it holds calls of workload other"


def two_workloads() -> Workloads:
    """Puts a contract of two workloads in force; the first is the one of all the matrices."""
    raw = raw_several({"other": {"items": 4, "seed": 7}, WORKLOAD: {"items": 4}}, **TWO)
    made = parse_contract(raw)
    Path("params.yaml").write_text(yaml.safe_dump(raw))
    built = build_workloads(made)
    write_whole(WORKLOAD_FILE, built.canonical_bytes())
    return Workloads.of(built)


TWO: dict[str, Any] = {"chunk_sizes": [1, 2, 4], "selection__resamples": 100}


def test_a_matrix_without_a_call_of_one_of_its_workloads_is_refused_by_its_name() -> None:
    known = two_workloads()

    def claims_both(provenance: Provenance) -> Provenance:
        one = provenance.workloads[WORKLOAD]
        workloads = {
            name: one.model_copy(update={"sha256": digest})
            for name, digest in known.sha256s.items()
        }
        changes = {"workload_sha256": known.sha256, "workloads": workloads}
        return provenance.model_copy(update=changes)

    write_matrix("jax", "portable", claims_both)
    assert refusal() == f"error: {JAX}: refused: it holds no calls of workload other"


def test_a_matrix_of_the_same_workloads_with_their_hashes_swapped_is_refused() -> None:
    known = two_workloads()

    def swapped(provenance: Provenance) -> Provenance:
        one = provenance.workloads[WORKLOAD]
        first, second = known.sha256s
        workloads = {
            first: one.model_copy(update={"sha256": known.sha256s[second]}),
            second: one.model_copy(update={"sha256": known.sha256s[first]}),
        }
        changes = {"workload_sha256": known.sha256, "workloads": workloads}
        return provenance.model_copy(update=changes)

    write_matrix("jax", "portable", swapped)
    line = refusal()
    assert line.startswith(f"error: {JAX}: refused: its hash of workload ")


@pytest.mark.parametrize("names", [["few"], ["few", WORKLOAD]])
def test_canonical_workloads_of_another_contract_are_refused_with_what_to_do(
    names: list[str],
) -> None:
    other = parse_contract(raw_several({name: {"items": 4} for name in names}, **TWO))
    write_whole(WORKLOAD_FILE, build_workloads(other).canonical_bytes())
    assert refusal() == (
        f"error: {WORKLOAD_FILE}: it holds the workloads {', '.join(names)}, but the contract has"
        " many; make it anew with `dvc repro workload`"
    )


URL = "http://192.0.2.1:30010"


def at_url_in_the_contract() -> None:
    raw = MADE.model_dump(mode="json")
    raw["backends"]["jax"]["portable"]["base_url"] = URL
    Path("params.yaml").write_text(yaml.safe_dump(raw))


def from_elsewhere(provenance: Provenance) -> Provenance:
    return at_url(provenance, URL, account(), 0.01)


def test_a_matrix_from_the_url_in_the_contract_is_compared() -> None:
    at_url_in_the_contract()
    write_matrix("jax", "portable", from_elsewhere)
    done = CliRunner().invoke(main)
    assert done.exit_code == 0, done.output


def test_a_matrix_of_a_launched_server_is_not_one_from_a_url_nor_the_other_way_round() -> None:
    at_url_in_the_contract()
    told = "its contract (backends.jax.portable.base_url) is"
    assert f"{JAX}: refused: {told} None, but {URL} is compared here" in refusal()
    write_matrix("jax", "portable", from_elsewhere)
    Path("params.yaml").write_text(yaml.safe_dump(MADE.model_dump(mode="json")))
    assert f"{JAX}: refused: {told} {URL}, but None" in refusal()


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"elsewhere": None}, "server's report is False"),
        ({"environment_sha256": "f" * 64}, "environment is fff"),
    ],
)
def test_a_matrix_from_a_url_that_says_too_little_or_too_much_is_refused(changes, what) -> None:
    at_url_in_the_contract()
    write_matrix("jax", "portable", lambda p: with_facts(from_elsewhere(p), changes))
    assert what in refusal()


def test_a_matrix_of_another_model_is_refused() -> None:
    write_matrix(
        "jax",
        "portable",
        lambda p: p.model_copy(update={"model": p.model.model_copy(update={"sha256": "f" * 64})}),
    )
    assert f"{JAX}: refused: its model is fff" in refusal()


COMMIT = "a" * 40


def of_commit() -> list[str]:
    return sorted(environment_sha256s("sglang_jax", COMMIT, "cpu"))


def of_the_commit(environment: str | None, **more: object) -> Callable[[Provenance], Provenance]:
    """Puts the commit into the contract in force and into that of a matrix."""
    raw = MADE.model_dump(mode="json")
    raw["backends"]["jax"]["launch"]["source"] = {"commit": COMMIT}
    raw["backends"]["jax"] |= more
    Path("params.yaml").write_text(yaml.safe_dump(raw))
    source = measured(launch=LAUNCH.model_copy(update={"source": Source(commit=COMMIT)}))
    return lambda p: with_facts(source(p), {"environment_sha256": environment})


def test_an_environment_of_the_commit_is_its_own_under_every_lock() -> None:
    """It may have been built elsewhere: no repository is needed to see that."""
    for view, environment in zip(VIEWS, of_commit(), strict=False):
        write_matrix("jax", view, of_the_commit(environment))
    done = CliRunner().invoke(main)
    assert done.exit_code == 0, done.output
    assert len(of_commit()) > 1


@pytest.mark.parametrize("of", ["tpu", "another commit", "the release", "nothing"])
def test_an_environment_of_something_else_is_not_the_commits(of: str) -> None:
    found = {
        "tpu": min(environment_sha256s("sglang_jax", COMMIT, "tpu")),
        "another commit": min(environment_sha256s("sglang_jax", "b" * 40, "cpu")),
        "the release": requirements_sha256("sglang_jax"),
        "nothing": None,
    }[of]
    for view in VIEWS:
        write_matrix("jax", view, of_the_commit(found))
    assert f"{JAX}: refused: its environment is {found}, but {of_commit()[0]} or " in refusal()


def test_a_baseline_from_another_environment_than_the_pinned_one_is_refused() -> None:
    write_matrix("pytorch", "portable", changed(environment_sha256="0" * 64))
    line = refusal()
    assert "pytorch-portable/matrix.parquet: refused: its environment is 000" in line


@pytest.mark.parametrize(
    ("source", "target", "what"),
    [
        ("jax-portable", "jax-best_native", "view is portable"),
        ("pytorch-portable", "jax-portable", "backend is pytorch"),
    ],
)
def test_swapped_files_are_refused(source: str, target: str, what: str) -> None:
    shutil.copytree(f"data/measure/{source}", f"data/measure/{target}", dirs_exist_ok=True)
    line = refusal()
    assert f"data/measure/{target}/matrix.parquet: refused" in line
    assert what in line


@pytest.mark.parametrize(
    "path", [JAX, "data/measure/pytorch-best_native/probes.parquet", str(ORACLE_FILE)]
)
@pytest.mark.parametrize("keep", [0, 10, 0.5, -1])
def test_a_truncated_file_is_refused(path: str, keep: float) -> None:
    data = Path(path).read_bytes()
    size = int(len(data) * keep) if isinstance(keep, float) else keep
    Path(path).write_bytes(data[:size])
    assert refusal().startswith(f"error: {path}: not a readable Parquet file")


@pytest.mark.parametrize("path", [JAX, str(ORACLE_FILE)])
def test_a_missing_file_is_named_with_what_to_do(path: str) -> None:
    Path(path).unlink()
    line = refusal()
    assert line.startswith(f"error: {path}: no such")
    assert "dvc repro" in line


def test_rows_edited_by_hand_are_refused() -> None:
    table = pq.read_table(JAX)
    for column, value in (("end_ns", 1), ("status", "ok"), ("run", 0), ("compiles", 7)):
        frame = pl.from_arrow(table).with_columns(pl.lit(value).alias(column))  # type: ignore[union-attr]
        if frame.equals(pl.from_arrow(table)):  # type: ignore[arg-type]
            continue
        edited = frame.to_arrow().cast(table.schema.remove_metadata())
        pq.write_table(edited.replace_schema_metadata(table.schema.metadata), JAX)
        assert refusal() == (
            f"error: {JAX}: its rows are not those that were written; it was changed"
        )


def test_a_file_of_another_origin_is_refused() -> None:
    pq.write_table(pa.table({"a": [1]}), JAX)
    assert "carries no provenance" in refusal()
    shutil.copy(ORACLE_FILE, JAX)
    assert "carries no provenance of a matrix" in refusal()


@pytest.mark.parametrize(
    ("changes", "what"),
    [({"matrix_sha256": "d" * 64}, "matrix is ddd"), ({"nonce": "d" * 16}, "nonce is ddd")],
)
def test_probes_of_another_measurement_are_refused(changes: dict[str, str], what: str) -> None:
    path = folder_of("jax", "portable") / PROBES_FILE
    table = pq.read_table(path).cast(PROBE_SCHEMA)
    _, provenance = PROBE_TABLE.read(path)
    PROBE_TABLE.write(path, table, provenance.model_copy(update=changes))
    assert f"{path}: refused: its {what}" in refusal()


def test_probes_of_starts_that_were_not_asked_for_are_refused() -> None:
    path = folder_of("jax", "portable") / PROBES_FILE
    table, provenance = PROBE_TABLE.read(path)
    more = pl.concat([table, table.with_columns(pl.lit(1, pl.Int32).alias("start"))])
    made = more.to_arrow().cast(PROBE_SCHEMA)
    known = {"table_sha256": table_sha256(made)}
    PROBE_TABLE.write(path, made, provenance.model_copy(update=known))
    assert f"{path}: refused: its list of extra starts is [1], but [] is compared" in refusal()


def further_start(number: int, change: Callable[[pl.DataFrame], pl.DataFrame]) -> str | None:
    """What is said of a table whose further start has ``change`` of the measured session's rows."""
    passes_asked = MADE.passes.model_copy(update={"probe_starts": 1})
    made = matrix("jax", "portable", list(GOOD))
    asked = made.provenance.contract.model_copy(update={"passes": passes_asked})
    of = replace(made, provenance=made.provenance.model_copy(update={"contract": asked}))
    path = folder_of("jax", "portable") / PROBES_FILE
    probes = read_probes(path)
    again = change(probes.frame).with_columns(pl.lit(number, pl.Int32).alias("start"))
    known = {
        "workload_sha256": of.provenance.workload_sha256,
        "matrix_sha256": of.provenance.table_sha256,
    }
    found = ProbeTable(pl.concat([probes.frame, again]), probes.provenance.model_copy(update=known))
    try:
        check_probes(path, found, of)
    except UserError as error:
        return str(error)
    return None


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[:1],
        lambda rows: rows.with_columns(items=pl.lit(2, pl.Int32)),
        lambda rows: rows.with_columns(workload=pl.lit("another")),
        lambda rows: pl.concat([rows, rows[:1]]),
    ],
    ids=["rows missing", "smaller requests", "another workload", "a row twice"],
)
def test_a_further_start_that_was_sent_other_probes_is_refused(
    change: Callable[[pl.DataFrame], pl.DataFrame],
) -> None:
    told = further_start(1, change)
    assert told is not None
    assert "refused: its extra start 1 was not sent the measured session's probes" in told


def test_a_further_start_that_was_sent_the_same_probes_belongs() -> None:
    assert further_start(1, lambda rows: rows) is None
    lost = pl.lit(None, pl.List(pl.Float64))
    assert further_start(1, lambda r: r.with_columns(status=pl.lit("timeout"), scores=lost)) is None


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"workload_sha256": "f" * 64}, "workloads"),
        ({"nonce": "f" * 16}, "nonce"),
        ({"model_sha256": "f" * 64}, "model"),
        ({"sample_seed": 99}, "sample seed"),
        ({"samples_per_chunk": 99}, "sample size"),
        ({"delimiters": {"jax-portable": 9999}}, "delimiters"),
    ],
)
def test_an_oracle_that_scored_something_else_is_refused(
    changes: dict[str, Any], what: str
) -> None:
    write_oracle(**changes)
    assert f"{ORACLE_FILE}: refused: its {what} is" in refusal()


def test_a_workload_or_a_model_swapped_under_the_matrices_is_refused() -> None:
    other = contract(workload__items=4, workload__seed=1, chunk_sizes=[1, 2, 4])
    write_whole(WORKLOAD_FILE, build_workloads(other).canonical_bytes())
    assert "its workloads is" in refusal()
