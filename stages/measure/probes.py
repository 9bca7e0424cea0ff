"""Probes a server: is it deterministic, and does an item's score depend on its neighbours?

They run in the server session of their matrix, after its timed passes.
"""

from __future__ import annotations

from stages.contract import Probes
from stages.documents.probes import ProbeRecord
from stages.documents.workload import CanonicalWorkload
from stages.measure.faults import HANGING_AFTER, Bound
from stages.measure.http.client import ScoreConnection
from stages.measure.http.decode import Decoded
from stages.measure.http.exchange import encode_request, exchange
from stages.plan.probe_requests import ProbeRequest, every_layout


class Prober:
    """Sends probe requests and keeps their records.

    Args:
        connection: to the server under test.
        workload: whose items are probed, all of them at most; every request has the same salt.
        bound: requests of more items are not sent; ``None`` where none has failed.
    """

    def __init__(
        self,
        connection: ScoreConnection,
        workload: CanonicalWorkload,
        bound: Bound | None = None,
    ) -> None:
        self._connection = connection
        self._workload = workload
        self._bound = bound
        self._timeouts = 0
        self._query = workload.salted_query(workload.salt("probe", 0, 0))
        self.records: list[ProbeRecord] = []

    def run(self, probes: Probes, targets: list[int]) -> None:
        """Send all probes: first the repetitions, then every layout of every target.

        The repetitions hold as many items as may be sent. After a few timeouts in a row nothing
        more is sent.
        """
        most = self._bound.items if self._bound else None
        items = self._workload.items[:most]
        for run in range(probes.repeats):
            decoded = self._send(items)
            for item in range(len(items)):
                self._keep("repeat", ProbeRequest("original", items, item), run, item, decoded)
        for target, request in every_layout(self._workload, targets, most):
            self._keep("isolation", request, 0, target, self._send(request.items))

    def _send(self, items: list[list[int]]) -> Decoded:
        bound = self._bound
        if bound is not None and len(items) > bound.items:
            why = f"not sent: the server failed at requests of more than {bound.items} items"
            return Decoded(bound.kind, why, None)
        if self._timeouts >= HANGING_AFTER:
            return Decoded("timeout", f"not sent: {self._timeouts} timeouts in a row", None)
        request = encode_request(self._workload, self._query, items)
        decoded, _ = exchange(self._connection, request.prepare(self._connection))
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
