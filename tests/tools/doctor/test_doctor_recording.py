"""What is recorded in the contract, when, and how it is written."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
import yaml
from contracts import ROOT, raw_contract
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from readiness import ASKS_FOR_TPU, GB, WITH_TPU, diagnosed, question, rooms

from stages.common.errors import UserError
from stages.contract import VIEWS, parse_contract
from tools.doctor.finding import RECORDED, Finding, Verdict
from tools.doctor.record import override, reason_of, with_reason
from tools.doctor.recording import Asked, Decision, decide
from tools.doctor.resource_checks import disk

COMMITTED = (ROOT / "params.yaml").read_text()
TPU = ASKS_FOR_TPU
NO_TPU = "doctor: no TPU found: no chip on the PCI bus, no /dev/accel0"


def decided(changes: dict[str, Any], asked: Asked, **facts: Any) -> Decision:
    found = question(changes, **facts)
    return decide(found, diagnosed(found, disk(found)), asked)


def test_a_blocked_backend_is_recorded_only_when_asked() -> None:
    assert decided(TPU, Asked(record=True)).changes == {"jax": NO_TPU}
    decision = decided(TPU, Asked())
    assert decision.changes == {}
    printed = "\n".join(decision.lines)
    assert "make doctor RECORD=1 BACKEND=jax, then make repro" in printed
    assert override("jax", NO_TPU) in printed
    assert "If JAX is measured on another machine, record nothing" in printed


def test_a_ready_machine_has_nothing_to_say() -> None:
    assert decided({}, Asked(record=True, clear=True)) == Decision({}, ())


def test_what_was_written_by_hand_is_neither_replaced_nor_taken_back() -> None:
    by_hand = {"backends__jax__unavailable": "a quota of 0 TPUs"}
    assert decided({**TPU, **by_hand}, Asked(record=True)).changes == {}
    decision = decided(by_hand, Asked(record=True, clear=True))
    assert decision.changes == {}
    assert decision.lines[0].endswith(
        "written by hand; to clear it: make doctor CLEAR=1 BACKEND=jax"
    )
    assert decided(by_hand, Asked()).lines == ()


def test_who_names_the_backend_takes_back_what_was_written_by_hand_if_it_can_run() -> None:
    by_hand = {"backends__jax__unavailable": "a quota of 0 TPUs"}
    decision = decided(by_hand, Asked(clear=True, named=True))
    assert decision.changes == {"jax": None}
    assert decision.lines == (
        "Cleared in params.yaml: backends.jax.unavailable is null, and was: a quota of 0 TPUs",
    )
    blocked_too = decided({**TPU, **by_hand}, Asked(clear=True, named=True))
    assert blocked_too.changes == {}
    assert blocked_too.lines == (
        "Not cleared: JAX is blocked here: no TPU found: no chip on the PCI bus, no /dev/accel0",
    )


def test_the_reason_of_one_view_is_taken_back_by_who_names_the_backend() -> None:
    one = {"backends__jax__portable__unavailable": "refuses a flag"}
    assert decided(one, Asked()) == Decision({}, ())
    decision = decided(one, Asked(clear=True, named=True))
    assert (decision.changes, decision.cleared) == ({}, (("jax", "portable"),))
    assert decision.lines == (
        "Cleared in params.yaml: backends.jax.portable.unavailable is null, and was: refuses a"
        " flag",
    )
    unnamed = decided(one, Asked(clear=True))
    assert unnamed.cleared == ()
    assert unnamed.lines[0].endswith(
        "written by hand; to clear it: make doctor CLEAR=1 BACKEND=jax"
    )
    blocked_too = decided({**TPU, **one}, Asked(clear=True, named=True))
    assert blocked_too.cleared == ()
    assert blocked_too.lines[-1].startswith("Not cleared: JAX, portable is blocked here: no TPU")
    cleared = with_reason(
        COMMITTED.replace(
            "portable:\n      unavailable: null", "portable:\n      unavailable: so", 1
        ),
        "jax",
        None,
        "portable",
    )
    assert cleared == COMMITTED


def test_a_view_that_the_contract_leaves_out_is_no_reason_to_record_the_backend() -> None:
    out = {f"backends__jax__{view}__unavailable": "refuses a flag" for view in VIEWS}
    assert decided({**TPU, **out}, Asked(record=True)).changes == {}


def test_a_record_that_holds_is_not_taken_back_and_that_is_said() -> None:
    holds = {**TPU, "backends__jax__unavailable": NO_TPU}
    decision = decided(holds, Asked(clear=True))
    assert decision.changes == {}
    assert decision.lines[0].startswith("Not cleared: JAX is blocked here: no TPU found")


def test_a_record_that_holds_stays_and_another_reason_takes_its_place() -> None:
    assert decided({**TPU, "backends__jax__unavailable": NO_TPU}, Asked(record=True)).changes == {}
    older = {**TPU, "backends__jax__unavailable": "doctor: its Python does not run"}
    assert decided(older, Asked(record=True)).changes == {"jax": NO_TPU}


def test_a_record_that_no_longer_holds_is_taken_back_only_when_asked() -> None:
    recorded = {"backends__jax__unavailable": NO_TPU}
    assert decided(recorded, Asked(clear=True)).changes == {"jax": None}
    decision = decided(recorded, Asked(record=True))
    assert decision.changes == {}
    assert "CLEAR=1" in decision.lines[0]


def test_a_backend_measured_on_another_machine_is_recorded_only_by_name() -> None:
    elsewhere = {"elsewhere": {"jax": "tpu-vm"}}
    decision = decided(TPU, Asked(record=True), **elsewhere)
    assert decision.changes == {}
    assert "measured on tpu-vm: nothing to record" in decision.lines[0]
    assert decided(TPU, Asked(record=True, named=True), **elsewhere).changes == {"jax": NO_TPU}


def test_what_blocks_the_whole_machine_is_no_backends_reason() -> None:
    decision = decided({}, Asked(record=True), rooms=rooms(work=GB // 1000))
    assert decision.changes == {}
    assert decision.lines[0].startswith("Not recorded: disk blocks the whole machine")
    # A reason that is a backend's own is recorded all the same.
    decision = decided(TPU, Asked(record=True), rooms=rooms(work=GB // 1000))
    assert decision.changes == {"jax": NO_TPU}


def test_the_reason_is_what_the_machine_lacks_not_what_could_be_mended() -> None:
    decision = decided(TPU, Asked(record=True), tpu=WITH_TPU)
    assert decision.changes == {
        "jax": "doctor: sglang_jax leaves out libtpu, without which no server reaches a TPU"
    }


def blocked(found: str) -> Verdict:
    finding = Finding("accelerator", "blocked", found)
    return Verdict("jax", "portable", (finding,), "blocked", found)


@settings(max_examples=30)
@given(st.text(min_size=1, max_size=400))
def test_any_reason_is_one_the_contract_the_shell_and_hydra_take(found: str) -> None:
    reason = reason_of([blocked(found)])
    assert reason is not None
    assert reason.startswith(RECORDED.strip())
    text = with_reason("backends:\n  jax:\n    unavailable: null\n", "jax", reason)
    raw = raw_contract(
        backends__jax__unavailable=yaml.safe_load(text)["backends"]["jax"]["unavailable"]
    )
    assert parse_contract(raw).backends["jax"].unavailable == reason
    option, argument = shlex.split(override("jax", reason))
    assert option == "-S"
    (parsed,) = OverridesParser.create().parse_overrides([argument])
    assert parsed.key_or_group == "backends.jax.unavailable"
    assert parsed.value() == reason


FILES = {
    "as composed": COMMITTED,
    "with comments": COMMITTED.replace("unavailable: null", "unavailable: null  # none yet", 1),
    "in braces": yaml.safe_dump(raw_contract(), default_flow_style=True),
    "left empty": COMMITTED.replace("unavailable: null", "unavailable:", 1),
    "on lines of its own": COMMITTED.replace(
        "unavailable: null", "unavailable: >-\n      a quota\n      of 0", 1
    ),
    "with quotes": COMMITTED.replace("unavailable: null", "unavailable: 'a'", 1),
}
LONG = f"doctor: {'NVIDIA H100 80GB HBM3 found, but ' * 5}too old"


@pytest.mark.parametrize("text", FILES.values(), ids=FILES)
@pytest.mark.parametrize("reason", [NO_TPU, LONG, None], ids=["short", "long", "none"])
def test_nothing_else_in_the_file_changes(text: str, reason: str | None) -> None:
    expected = yaml.safe_load(text)
    expected["backends"]["jax"]["unavailable"] = reason
    changed = with_reason(text, "jax", reason)
    assert yaml.safe_load(changed) == expected
    assert changed.count("#") == text.count("#")
    assert with_reason(changed, "jax", reason) == changed


def test_a_file_without_the_place_is_refused() -> None:
    with pytest.raises(UserError, match=r"backends\.jax.unavailable: no such key"):
        with_reason("backends: {jax: {}}", "jax", NO_TPU)
