"""structlog, without the library that it draws tracebacks with.

It imports rich with all that highlights Python code, if rich is there: 5 MB. No event
has a traceback here.
"""

from ipvsctl.libraries.parts import without

with without("rich"):
    import structlog

__all__ = ["structlog"]
