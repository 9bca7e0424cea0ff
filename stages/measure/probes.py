"""Probes a server: is it deterministic, and does an item's score depend on its neighbours?

The server of a matrix is probed in its session, after the timed passes. Further starts of it are
sent the same requests (:mod:`stages.measure.starts`).
"""

from __future__ import annotations

from stages.contract import Probes
from stages.documents.probes import ProbeRecord
from stages.documents.workload import CanonicalWorkload
from stages.measure.faults import HANGING_AFTER, Bound
from stages.measure.http.client import ScoreConnection
from stages.measure.http.decode import Decoded
from stages.measure.http.exchange import encode_request, exchange
from stages.plan.probe_requests import ProbeRequest, choose_targets, every_layout, probed_part


class Prober:
    """Sends probe requests and keeps their records.

    Args:
        server: the connection to the server under test, or what every request ends in where there
            is no server.
        workload: whose items are probed; every request has the same salt.
        probes: of the contract.
        bound: requests of more items are not sent; ``None`` where none has failed.
        start: of the server, from 0.
    """

    def __init__(
        self,
        server: ScoreConnection | Decoded,
        workload: CanonicalWorkload,
        probes: Probes,
        bound: Bound | None = None,
        start: int = 0,
    ) -> None:
        self._server = server
        self._workload = part = probed_part(workload, probes)
        self._probes = probes
        self._targets = choose_targets(workload, probes)
        self._bound = bound
        self._start = start
        self._timeouts = 0
        self._query = part.salted_query(part.salt("probe", 0, 0))
        self.records: list[ProbeRecord] = []

    def run(self) -> None:
        """Send all probes: first the repetitions, then every layout of every target.

        The repetitions hold as many items as may be sent. After a few timeouts in a row nothing
        more is sent.
        """
        most = self._bound.items if self._bound else None
        items = self._workload.items[:most]
        for run in range(self._probes.repeats):
            decoded = self._send(items)
            for item in range(len(items)):
                self._keep("repeat", ProbeRequest("original", items, item), run, item, decoded)
        for target, request in every_layout(self._workload, self._targets, most):
            self._keep("isolation", request, 0, target, self._send(request.items))

    def _send(self, items: list[list[int]]) -> Decoded:
        bound, server = self._bound, self._server
        if isinstance(server, Decoded):
            return server
        if bound is not None and len(items) > bound.items:
            why = f"not sent: the server failed at requests of more than {bound.items} items"
            return Decoded(bound.kind, why, None)
        if self._timeouts >= HANGING_AFTER:
            return Decoded("timeout", f"not sent: {self._timeouts} timeouts in a row", None)
        request = encode_request(self._workload, self._query, items)
        decoded, _ = exchange(server, request.prepare(server))
        self._timeouts = self._timeouts + 1 if decoded.status == "timeout" else 0
        return decoded

    def _keep(
        self, kind: str, request: ProbeRequest, run: int, item: int, decoded: Decoded
    ) -> None:
        labels = len(self._workload.label_token_ids)
        at = request.place * labels
        scores = None if decoded.scores is None else decoded.scores[at : at + labels]
        self.records.append(
            ProbeRecord(
                workload=self._workload.name,
                start=self._start,
                kind="repeat" if kind == "repeat" else "isolation",
                layout=request.layout,
                run=run,
                item=item,
                place=request.place,
                items=len(request.items),
                status=decoded.status,
                detail=decoded.detail,
                scores=scores,
            )
        )
