"""The command line, whole: `--help` lists commands in the order of these modules."""

from ipvsctl.cli.commands import imposing, looking, reasons, traffic, without_kernel
from ipvsctl.cli.commands.root import app

__all__ = ["app", "imposing", "looking", "reasons", "traffic", "without_kernel"]
