"""A small real HTTP server that answers ``/v1/score``, correctly unless an option says otherwise.

Run as a program, it replaces a backend's server in tests of the harness. The same ``Server``
starts and stops it, and the same client sends it requests.
"""

from __future__ import annotations

import argparse
import hashlib
import http.server
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def right_score(query: list[int], item: list[int]) -> float:
    """The score of an item, from 0.1 to 0.9; it depends on all tokens."""
    digest = hashlib.sha256(json.dumps([query, item]).encode()).digest()
    return 0.1 + 0.8 * int.from_bytes(digest[:6], "big") / 2**48


def picked(item: list[int]) -> bool:
    """Whether a lie about some items is about this one; the same in every call."""
    return item[0] % 7 == 0


def nearest(query: list[int], items: list[list[int]]) -> tuple[tuple[float, list[int]], ...]:
    """The two items whose right scores are nearest, each with its score, the lower first."""
    ranked = sorted((right_score(query, item), item) for item in items)
    return min(itertools.pairwise(ranked), key=lambda two: two[1][0] - two[0][0])


class PrefixMemory:
    """The prompt tokens that a server with a prefix cache need not compute again."""

    def __init__(self) -> None:
        self._seen: set[tuple[int, ...]] = set()

    def take(self, prompts: list[list[int]]) -> tuple[int, int]:
        """The numbers of computed and of cached tokens, prompt by prompt."""
        cached = 0
        for prompt in prompts:
            prefixes = [tuple(prompt[:length]) for length in range(1, len(prompt) + 1)]
            # The last token is always computed, because its logits are needed.
            cached += sum(prefix in self._seen for prefix in prefixes[:-1])
            self._seen.update(prefixes)
        return sum(map(len, prompts)) - cached, cached


class Liar:
    """Answers correctly except for one lie.

    Args:
        lie: ``NAME`` or ``NAME:NUMBER``; empty for none.
        salts: queries that begin with one of these are lied about, if any are given.
        workload: all items of a pass, for a lie that must know them.
    """

    def __init__(
        self,
        lie: str = "",
        salts: list[list[int]] | None = None,
        workload: list[list[int]] | None = None,
    ) -> None:
        name, _, number = lie.partition(":")
        self._method = getattr(self, f"_{name}") if name else None
        self._number = float(number or 0)
        self._salts = salts
        self._workload = workload or []
        self._query: list[int] = []
        self._before: list[int] = []
        self._calls = 0

    def scores(self, query: list[int], items: list[list[int]]) -> list[list[float]]:
        """Two label scores per item."""
        self._calls += 1
        if query != self._query:
            self._before, self._query = self._query or query, query
        right = [right_score(query, item) for item in items]
        if self._method is None or (self._salts is not None and query[:8] not in self._salts):
            return [[p, 1 - p] for p in right]
        lied: list[list[float]] = self._method(right, items)
        return lied

    def _shift(self, right: list[float], _: object) -> list[list[float]]:
        by = int(self._number) % len(right)
        return [[p, 1 - p] for p in right[by:] + right[:by]]

    def _leak(self, right: list[float], items: list[list[int]]) -> list[list[float]]:
        # An item's score is pulled towards that of the item before it.
        pulled = [
            p if i == 0 else 0.9 * p + 0.1 * right_score(items[i - 1], items[i])
            for i, p in enumerate(right)
        ]
        return [[p, 1 - p] for p in pulled]

    def _last(self, right: list[float], _: object) -> list[list[float]]:
        return [[p, 1 - p] for p in [*right[:-1], 1 - right[-1]]]

    def _swap(self, right: list[float], _: object) -> list[list[float]]:
        return [[1 - p, p] for p in right]

    def _constant(self, right: list[float], _: object) -> list[list[float]]:
        return [[0.3, 0.7] for _ in right]

    def _stale(self, _: object, items: list[list[int]]) -> list[list[float]]:
        return [[p, 1 - p] for p in (right_score(self._before, item) for item in items)]

    def _cache(self, right: list[float], _: object) -> list[list[float]]:
        # The score is right, but from memory: time and reported tokens are the lie.
        return [[p, 1 - p] for p in right]

    def _single(self, right: list[float], _: object) -> list[list[float]]:
        # Right, but a request of one item alone is answered with an error.
        return [[p, 1 - p] for p in right]

    def _nan(self, right: list[float], items: list[list[int]]) -> list[list[float]]:
        bad = float("nan")
        return [[p, bad if picked(item) else 1 - p] for p, item in zip(right, items, strict=True)]

    def _round(self, right: list[float], _: object) -> list[list[float]]:
        return [[round(p, 2), 1 - round(p, 2)] for p in right]

    def _drift(self, right: list[float], _: object) -> list[list[float]]:
        return [[p + self._number, 1 - p - self._number] for p in right]

    def _one(self, right: list[float], items: list[list[int]]) -> list[list[float]]:
        off = [p + self._number * picked(item) for p, item in zip(right, items, strict=True)]
        return [[p, 1 - p] for p in off]

    def _batched(self, right: list[float], _: object) -> list[list[float]]:
        off = 0.1 if len(right) > 1 else 0.0
        return [[p + off, 1 - p - off] if p < 0.5 else [p - off, 1 - p + off] for p in right]

    def _batches(self, right: list[float], _: object) -> list[list[float]]:
        # A batch of another shape changes the last digits, the same way each time.
        off = self._number * (len(right) % 3)
        return [[p + off, 1 - p - off] for p in right]

    def _lengths(self, right: list[float], items: list[list[int]]) -> list[list[float]]:
        # Right among items of its own length. All items of a pass have one length.
        mixed = len({len(item) for item in items}) > 1
        off = self._number if mixed else 0.0
        return [[p + off, 1 - p - off] for p in right]

    def _delimiter(self, _: object, items: list[list[int]]) -> list[list[float]]:
        # As a server that packs items and lets each see the delimiter before it.
        query = [*self._query, int(self._number)]
        return [[p, 1 - p] for p in (right_score(query, item) for item in items)]

    def _mixed(self, right: list[float], items: list[list[int]]) -> list[list[float]]:
        # The same, and among items of other lengths a little of the neighbours too.
        off = 0.0117 if len({len(item) for item in items}) > 1 else 0.0
        return [[p + off, 1 - p - off] for p, _ in self._delimiter(right, items)]

    def _unmasked(self, _: object, items: list[list[int]]) -> list[list[float]]:
        # Packed without a mask: an item sees all that stands before it.
        before, scores = self._query, []
        for item in items:
            before = [*before, int(self._number)]
            p = right_score(before, item)
            scores.append([p, 1 - p])
            before = [*before, *item]
        return scores

    def _nearest(self, right: list[float], items: list[list[int]]) -> list[list[float]]:
        # The two items of the workload with the nearest scores change places, in any request.
        (low, one), (high, other) = nearest(self._query, self._workload)
        swapped = {tuple(one): high, tuple(other): low}
        lied = [swapped.get(tuple(item), p) for p, item in zip(right, items, strict=True)]
        return [[p, 1 - p] for p in lied]

    def _bent(self, right: list[float], _: object) -> list[list[float]]:
        # Up to 0.25 off, and in the right order.
        return [[p * p, 1 - p * p] for p in right]

    def _jitter(self, right: list[float], _: object) -> list[list[float]]:
        off = self._number * (1 if self._calls % 2 else -1)
        return [[p + off, 1 - p - off] for p in right]

    def _unnormalised(self, right: list[float], items: list[list[int]]) -> list[list[float]]:
        return [[p, 1 - p - 0.05 * picked(item)] for p, item in zip(right, items, strict=True)]


class Handler(http.server.BaseHTTPRequestHandler):
    """Keep-alive, one thread; counts the calls it answered."""

    protocol_version = "HTTP/1.1"
    # Head and body in one segment: two would wait 40 ms for a delayed acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True
    arguments: argparse.Namespace
    calls = 0
    compiled: set[tuple[int, bool]] = set()  # noqa: RUF012  one server, one process
    queries: set[tuple[int, ...]] = set()  # noqa: RUF012  one server, one process
    split_salts: list[list[int]] = []  # noqa: RUF012  one server, one process
    liar = Liar()
    memory = PrefixMemory()
    hangs = False
    worker: subprocess.Popen[bytes] | None = None
    infos: dict[str, object] = {}  # noqa: RUF012  one server, one process
    held = 0

    def do_POST(self) -> None:
        """Answer one scoring request."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self._may() and self._has_room(body):
            self._score(body)

    def _has_room(self, body: dict[str, Any]) -> bool:
        """Whether every prompt fits; a longer one is refused."""
        longest, most = max(map(len, body["items"])), self.arguments.most_tokens
        if most is None or len(body["query"]) + longest <= most:
            return True
        self._answer(400, b'{"message": "the input is longer than the context length"}')
        return False

    def _score(self, body: dict[str, Any]) -> None:
        cls = type(self)
        cls.calls += 1
        arguments = cls.arguments
        if len(body["items"]) == arguments.hang_items:
            cls.hangs = True
        if cls.worker is not None and cls.calls == arguments.worker_dies_at and self._first_life():
            cls.worker.kill()
            cls.worker.wait()
            cls.hangs = True
        while cls.hangs:
            time.sleep(1)
        self._wait_while_held(body["query"])
        self._perhaps_die(len(body["items"]), len(body["query"]))
        self._compile(body)
        self._say_path(len(body["items"]))
        computed, cached = self._prefill(body)
        pace = arguments.sleep + arguments.sleep_squared * len(body["items"]) ** 2
        time.sleep(pace * computed / (computed + cached) if arguments.lie == "cache" else pace)
        scores = cls.liar.scores(body["query"], body["items"])
        status = 200
        fails = bool(arguments.fail_at) and cls.calls == arguments.fail_at
        dies = fails and arguments.then_die and self._first_life()
        if fails and dies == arguments.then_die:
            status, scores = 500, []
        if arguments.lie == "single" and len(body["items"]) == 1:
            status, scores = 500, []
        answer = json.dumps({"scores": scores, **self._usage(computed, cached)}).encode()
        self._log_prefill("log", computed, cached)
        if len(body["items"]) == arguments.oom_items:
            status, answer = 500, b'{"message": "CUDA out of memory. Tried to allocate 2 GiB"}'
        self._answer(status, answer)
        self.wfile.flush()
        if dies:
            threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGKILL)).start()
        self._log_prefill("late", computed, cached)

    def _perhaps_die(self, items: int, query_tokens: int) -> None:
        """Die in this call if an option says so."""
        cls, arguments = type(self), self.arguments
        if arguments.only_query_tokens not in (None, query_tokens):
            return
        if items == arguments.starve_items:
            print("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", flush=True)
        at_this_call = arguments.crash_at and cls.calls == arguments.crash_at
        if items in (arguments.crash_items, arguments.starve_items) or (
            at_this_call and self._first_life()
        ):
            os.kill(os.getpid(), signal.SIGKILL)

    def _prefill(self, body: dict[str, Any]) -> tuple[int, int]:
        """Tokens computed, tokens from the prefix cache; a cheat's cache leaves out the salt."""
        cheats = self.arguments.lie == "cache"
        if not cheats and not self.arguments.tells:
            return 1, 0
        query = body["query"][8:] if cheats else body["query"]
        return type(self).memory.take([query + item for item in body["items"]])

    def _log_prefill(self, when: str, computed: int, cached: int) -> None:
        """Write the line that both real servers write for a batch, if it is due now."""
        if self.arguments.tells == when:
            time.sleep(self.arguments.late if when == "late" else 0)
            tokens = f"#new-token: {computed}, #cached-token: {cached}"
            print(f"Prefill batch. #new-seq: 1, {tokens}, token usage: 0.05, ", flush=True)

    def _usage(self, computed: int, cached: int) -> dict[str, object]:
        """The ``usage`` field of an answer, as sglang writes it if asked for a report."""
        if self.arguments.lie != "cache" and self.arguments.tells != "usage":
            return {}
        details = {"prompt_tokens": computed + cached, "total_tokens": computed + cached}
        return {"usage": {**details, "prompt_tokens_details": {"cached_tokens": cached}}}

    def _compile(self, body: dict[str, Any]) -> None:
        """Log a compilation for each batch whose items are new, with the query cached or not."""
        cls, query, items = type(self), tuple(body["query"]), len(body["items"])
        half = items // 2 if body["query"][:8] in cls.split_salts else 0
        for batch in filter(None, [half, items - half] if cls.arguments.compiles else []):
            shape = (batch, bool(cls.arguments.tells) and query in cls.queries)
            cls.queries.add(query)
            if shape not in cls.compiled:
                cls.compiled.add(shape)
                print("Prefill batch. #bid: 1, #cache_miss: 2", flush=True)

    def _say_path(self, items: int) -> None:
        """Log how a request was scored, as sglang-jax does: in every form that it has."""
        cls, arguments = type(self), self.arguments
        falls = arguments.falls_back or (
            items == arguments.falls_back_items and cls.calls % arguments.falls_back_every == 0
        )
        path = "prefill_extend_baseline" if falls else "score_from_cache_v2"
        told = [
            *(["Fastpath v2 falling back to baseline: reason=x error=y"] if falls else []),
            *([f"ScorePathMetrics path={path} items={items}"] if arguments.paths else []),
        ]
        forms = ["[2026-11-28 02:40:33] ", "INFO:sgl_jax.srt.managers.tokenizer_manager:"]
        for line in told:
            print("\n".join(form + line for form in forms), flush=True)

    def do_GET(self) -> None:
        """Answer with its reports, if the path is one and it has them; else that it is healthy."""
        if self._may():
            said = type(self).infos.get(self.path)
            self._answer(200, b"" if said is None else json.dumps(said).encode())

    def _may(self) -> bool:
        """Whether the request has the key, if one is needed; a refusal repeats the wrong one."""
        sent, key = self.headers.get("Authorization"), self.arguments.key
        if key is None or sent == f"Bearer {key}":
            return True
        self._answer(401, json.dumps({"message": f"no such key: {sent}"}).encode())
        return False

    def _answer(self, status: int, answer: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def _wait_while_held(self, query: list[int]) -> None:
        """Block a call with a held salt while the test holds it and no more may be answered."""
        cls, path = type(self), self.arguments.hold
        if path is None or not path.exists():
            return
        hold = json.loads(path.read_text())
        if query[:8] in hold["salts"]:
            cls.held += 1
            while cls.held > hold["after"] and path.exists():
                time.sleep(0.05)

    def _first_life(self) -> bool:
        """Whether this is the first server of the test to get here (or all of them may crash)."""
        if self.arguments.mark is None:
            return True
        try:
            self.arguments.mark.touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def count_start(path: Path) -> int:
    """The number of this start, from 0, by a file with a byte for each."""
    with path.open("ab") as file:
        number = file.tell()
        file.write(b".")
    return number


def behave(arguments: argparse.Namespace) -> None:
    """Take back what is meant for other starts alone."""
    arguments.crash_at = arguments.hold = None
    arguments.lie, arguments.ends = "", False
    Handler.liar = Liar()


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--crash-at", type=int, help="die at this call")
    parser.add_argument("--mark", type=Path, help="file that makes the crash happen once only")
    parser.add_argument("--fail-at", type=int, help="answer 500 to this call")
    parser.add_argument("--then-die", action="store_true", help="and end half a second later")
    parser.add_argument("--crash-items", type=int, help="die when asked for so many items")
    parser.add_argument("--only-query-tokens", type=int, help="die of queries this long alone")
    parser.add_argument("--starve-items", type=int, help="so many: log that memory ran out, die")
    parser.add_argument("--oom-items", type=int, help="have no memory for so many items")
    parser.add_argument("--most-tokens", type=int, help="refuse longer prompts")
    parser.add_argument("--hang-items", type=int, help="asked for so many, never answer again")
    parser.add_argument("--worker-dies-at", type=int, help="at this call; never answer again")
    parser.add_argument("--hold", type=Path, help="file that names the calls to hold (JSON)")
    parser.add_argument("--compiles", action="store_true", help="compile per new batch")
    parser.add_argument("--split-salts", type=Path, help="two batches a call with these (JSON)")
    parser.add_argument("--falls-back", action="store_true", help="leave the fast path each call")
    parser.add_argument("--falls-back-items", type=int, help="the same, asked for so many items")
    parser.add_argument("--falls-back-every", type=int, default=1, help="only each such call")
    parser.add_argument("--paths", action="store_true", help="log how each call was scored")
    parser.add_argument("--sleep", type=float, default=0.0, help="seconds per call")
    parser.add_argument("--sleep-squared", type=float, default=0.0, help="times items squared")
    parser.add_argument(
        "--tells",
        default="",
        choices=["", "log", "late", "usage"],
        help="keep a prefix cache, and tell of it in the log, there after the answer, or in usage",
    )
    parser.add_argument("--late", type=float, default=0.05, help="seconds after the answer")
    parser.add_argument("--lie", default="", help="which lie to tell")
    parser.add_argument("--lie-salts", type=Path, help="lie only about these salts (JSON)")
    parser.add_argument("--lie-items", type=Path, help="all items of a pass (JSON)")
    parser.add_argument("--ends", action="store_true", help="end instead of serving")
    parser.add_argument("--starts", type=Path, help="file that counts starts")
    parser.add_argument(
        "--only-starts", help="numbers of the starts in which to lie, hold, crash at a call or end"
    )
    parser.add_argument("--infos", type=Path, help="what it says by path (JSON), if it is asked")
    parser.add_argument("--key", help="refuse requests without this API key")
    parser.add_argument("--strict", action="store_true", help="refuse arguments it does not know")
    Handler.arguments, unknown = parser.parse_known_args()
    if unknown and Handler.arguments.strict:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    salts, items = (
        json.loads(path.read_text()) if path else None
        for path in (Handler.arguments.lie_salts, Handler.arguments.lie_items)
    )
    Handler.liar = Liar(Handler.arguments.lie, salts, items)
    if Handler.arguments.split_salts is not None:
        Handler.split_salts = json.loads(Handler.arguments.split_salts.read_text())
    address = (Handler.arguments.host, Handler.arguments.port)
    try:
        # A hanging call must not keep /health from answering.
        hanging = Handler.arguments.hang_items is not None
        if Handler.arguments.infos is not None:
            # Neither may a connection that only checks whether the port listens.
            hanging = True
            Handler.infos = json.loads(Handler.arguments.infos.read_text())
        if Handler.arguments.worker_dies_at is not None:
            hanging = True
            Handler.worker = subprocess.Popen(["sleep", "6000"])
        server = http.server.ThreadingHTTPServer if hanging else http.server.HTTPServer
        listening = server(address, Handler)
        # Counted once the port is its own, so a start that finds it taken is none.
        only = Handler.arguments.only_starts
        if only and str(count_start(Handler.arguments.starts)) not in only.split(","):
            behave(Handler.arguments)
        if Handler.arguments.ends:
            sys.exit(1)
        listening.serve_forever()
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
