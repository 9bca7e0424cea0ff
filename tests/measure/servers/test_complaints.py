"""The last useful lines of a server's log: real tracebacks, of one process and of several."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.measure.servers.complaints import complaints


def log_of(program: str) -> str:
    """What a real Python program prints as it dies."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True
    )
    assert done.returncode != 0
    return done.stderr


def frames(count: int) -> str:
    return "".join(f'  File "x.py", line {i}, in f\n    g({i})\n' for i in range(count))


def test_of_a_real_traceback_the_exception_is_left() -> None:
    log = log_of("""
        def even(n):
            if n == 0:
                raise ValueError("no such flag: --mask")
            odd(n - 1)
        def odd(n):
            even(n - 1)
        even(100)
    """)
    assert len(log.splitlines()) > 100
    assert complaints(log) == ["ValueError: no such flag: --mask"]


def test_of_a_real_chain_the_last_and_the_first_exception_are_left() -> None:
    log = log_of("""
        def load():
            try:
                open("/nowhere/weights")
            except OSError as error:
                raise LookupError("no weights") from error
        try:
            load()
        except LookupError as error:
            raise RuntimeError("the scheduler did not start") from error
    """)
    assert complaints(log) == [
        "RuntimeError: the scheduler did not start (it began with FileNotFoundError: [Errno 2] No"
        " such file or directory: '/nowhere/weights')"
    ]


def test_an_exception_raised_while_another_was_handled_names_both() -> None:
    log = log_of("""
        try:
            {}["token"]
        except KeyError:
            undefined
    """)
    assert complaints(log) == [
        "NameError: name 'undefined' is not defined (it began with KeyError: 'token')"
    ]


def test_a_real_exception_without_a_message_is_shown_with_its_code() -> None:
    assert complaints(log_of("x = 1\nassert x == 2")) == [
        'AssertionError: File "<string>", line 2, in <module>'
    ]
    log = f"Traceback (most recent call last):\n{frames(1)}    assert pages == 0\nAssertionError\n"
    assert complaints(log) == ["AssertionError: assert pages == 0"]


def test_a_real_exception_group_is_read_too() -> None:
    log = log_of("raise ExceptionGroup('two', [ValueError('one'), TypeError('other')])")
    assert complaints(log) == [
        "ExceptionGroup: two (2 sub-exceptions)",
        "ValueError: one",
        "TypeError: other",
    ]


def test_a_real_syntax_error_is_one_line() -> None:
    assert complaints(log_of("def f(:\n  pass")) == ["SyntaxError: invalid syntax"]


def test_tracebacks_that_several_processes_log_are_shown_once_each() -> None:
    def crash(rank: int) -> str:
        return (
            f"[2026-02-11 10:00:0{rank} TP{rank}] Scheduler hit an exception: "
            f"Traceback (most recent call last):\n{frames(60)}"
            "torch.OutOfMemoryError: CUDA out of memory.\n\n"
        )

    log = (
        "[2026-02-11 10:00:00 TP0] Load weight begin. avail mem=139.33 GB\n"
        + crash(0)
        + crash(1)
        + "[2026-02-11 10:00:03] Rank 0 scheduler is dead. Please check the logs.\n"
        + f"Traceback (most recent call last):\n{frames(3)}EOFError\n"
    )
    assert complaints(log) == [
        "torch.OutOfMemoryError: CUDA out of memory.",
        "[2026-02-11 10:00:03] Rank 0 scheduler is dead. Please check the logs.",
        "EOFError: g(2)",
    ]


@pytest.mark.parametrize(
    ("first", "second"), [("[rank0]: ", "[rank1]: "), ("(Worker pid=7) ", "(Worker pid=8) ")]
)
def test_interleaved_tracebacks_are_separated_by_their_prefix(first: str, second: str) -> None:
    one = [
        "Traceback (most recent call last):",
        '  File "a.py", line 1',
        "    a()",
        "ValueError: a",
    ]
    two = ["Traceback (most recent call last):", '  File "b.py", line 1', "    b()", "TypeError: b"]
    pairs = zip(one, two, strict=True)
    log = "\n".join(f"{first}{a}\n{second}{b}" for a, b in pairs)
    assert complaints(log) == ["ValueError: a", "TypeError: b"]


def test_a_line_of_another_process_inside_a_traceback_does_not_end_it() -> None:
    log = (
        "[TP0] Traceback (most recent call last):\n"
        '[TP0]   File "x.py", line 1\n'
        "INFO:     Application startup complete.\n"
        "[TP1] Capturing batches\n"
        "[TP0] RuntimeError: no kernel for this device\n"
    )
    assert complaints(log) == ["RuntimeError: no kernel for this device"]


def test_the_chain_that_jax_writes_is_one_complaint() -> None:
    log = (
        f"Traceback (most recent call last):\n{frames(40)}"
        "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory\n\n"
        "The stack trace below excludes JAX-internal frames.\n"
        "The preceding is the original exception that occurred, unmodified.\n\n"
        "--------------------\n\n"
        "The above exception was the direct cause of the following exception:\n\n"
        f"Traceback (most recent call last):\n{frames(5)}"
        "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory\n"
    )
    assert complaints(log) == [
        "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory"
    ]


@pytest.mark.parametrize(
    "line",
    [
        "Killed",
        "Memory cgroup out of memory: Killed process 4711 (python3) total-vm:24684092kB",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "Fatal Python error: Segmentation fault",
        "launch_server.py: error: unrecognized arguments: --no-such-flag",
        "F0211 10:00:00.000000 4711 device.cc:77] Check failed: num > 0",
    ],
)
def test_a_death_that_python_does_not_report_is_found_among_ordinary_lines(line: str) -> None:
    noise = [f"[2026-02-11 10:00:00 TP0] Prefill batch {i}" for i in range(50)]
    log = "\n".join([*noise, line, *noise])
    assert complaints(log) == [line]


def test_settings_and_request_lines_that_hold_the_word_error_are_not_complaints() -> None:
    log = (
        "server_args=ServerArgs(log_level_http='error', port=30000)\n"
        'INFO:     127.0.0.1:40000 - "POST /v1/score HTTP/1.1" 500 Internal Server Error\n'
        "the last line\n"
    )
    assert complaints(log, 1) == ["the last line"]


def test_an_end_on_request_hides_no_real_complaint() -> None:
    stop = f"Traceback (most recent call last):\n{frames(2)}KeyboardInterrupt\n"
    assert complaints(f"ERROR: no such model\n{stop}") == ["ERROR: no such model"]
    assert complaints(stop) == ["KeyboardInterrupt: g(1)"]


def test_without_a_complaint_the_last_lines_are_left_and_a_progress_bar_is_its_last_state() -> None:
    log = "one\ntwo\n\nLoading:  0%|   |\rLoading: 50%|== |\rLoading: 99%|===|\n\n"
    assert complaints(log, 2) == ["two", "Loading: 99%|===|"]
    assert complaints("") == []


def test_what_a_log_says_cannot_drive_the_terminal() -> None:
    log = "\x1b[31mERROR\x1b[0m: \x1b]0;owned\x07no\x00 room\u202e\n" + "error " * 100_000
    first, second = complaints(log)
    assert first == "ERROR: no room"
    assert len(second) <= 200


@given(
    st.text(alphabet=st.sampled_from("Tracebk (most recent call last):\n\r [|+]Erro:.\x1b\x00é"))
)
def test_no_log_breaks_the_reading_and_every_line_is_clean(log: str) -> None:
    for text in (log, log.replace("T", "Traceback (most recent call last):\n")):
        found = complaints(text)
        assert len(found) <= 5
        assert all(line.isprintable() and len(line) <= 200 for line in found)
