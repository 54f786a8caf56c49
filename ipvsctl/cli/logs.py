"""How the daemon logs: one line an event, to stderr."""

import logging
import sys
from typing import TYPE_CHECKING

from ipvsctl.cli.options import LogFormat
from ipvsctl.libraries.log import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor


def configure_logs(form: LogFormat, *, verbose: int) -> None:
    """Set up logging for the whole process.

    Args:
        form: `auto` is key=value on a terminal, else JSON.
        verbose: above 0, debug events (every op) too.
    """
    for_people = form is LogFormat.CONSOLE or (
        form is LogFormat.AUTO and sys.stderr.isatty()
    )
    renderers: list[Processor] = (
        [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        if for_people
        else [
            structlog.processors.dict_tracebacks,
            _in_order,
            structlog.processors.JSONRenderer(),
        ]
    )
    level = logging.DEBUG if verbose else logging.INFO
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
    )


def _in_order(_logger: object, _method: str, event: "EventDict") -> "EventDict":
    """The keys that every event has come first."""
    first = ("timestamp", "level", "event")
    return {**{name: event[name] for name in first}, **event}
