"""What the log says of syncs and audits."""

import logging
from collections.abc import Mapping, Sequence

import msgspec

from ipvsctl.controller.backlog import Programmed
from ipvsctl.controller.sync_report import SyncReport
from ipvsctl.libraries.log import structlog
from ipvsctl.plan.diff.ops import FailedOp
from ipvsctl.plan.diff.words import FirewallWords

_log = structlog.get_logger("ipvsctl")


class _Sums(msgspec.Struct):
    """What one line says."""

    ops: int = 0
    failed: int = 0
    duration_s: float = 0
    latency_s: float | None = None

    def add(
        self, report: SyncReport, failed: int, programmed: tuple[Programmed, ...]
    ) -> None:
        """One more."""
        self.ops += len(report.plan)
        self.failed += failed
        self.duration_s += report.duration_s
        for change in programmed:
            self.latency_s = max(self.latency_s or 0, change.duration_s)

    def fields(self) -> Mapping[str, float]:
        """The fields of the line."""
        fields = {
            "ops": self.ops,
            "failed": self.failed,
            "duration_ms": round(self.duration_s * 1000, 1),
        }
        if self.latency_s is not None:
            fields["latency_ms"] = round(self.latency_s * 1000, 1)
        return fields


class SyncLog:
    """One line for each sync, however many parts it has; its ops at debug.

    Args:
        firewall: what operators call the things of the firewall.
    """

    def __init__(self, firewall: FirewallWords) -> None:
        self._firewall = firewall
        self._sums: _Sums | None = None

    def add(
        self,
        report: SyncReport,
        failed: Sequence[FailedOp],
        programmed: tuple[Programmed, ...] = (),
    ) -> None:
        """A part has been done."""
        if self._sums is None:
            self._sums = _Sums()
        self._sums.add(report, len(failed), programmed)
        if _log.is_enabled_for(logging.DEBUG):
            for op in report.plan:
                _log.debug("op", op=op.words(self._firewall))
        for failure in failed:
            words = failure.op.words(self._firewall)
            _log.error("op failed", op=words, reason=failure.reason)

    def end(self, what: str) -> None:
        """That was the last one; nothing is said if there was none."""
        if self._sums is not None:
            _log.info(what, **self._sums.fields())
        self._sums = None
