"""`status`: every Service with what the kernel holds for it."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from ipvsctl import __version__
from ipvsctl.cli.daemon import ask
from ipvsctl.cli.errors import ExitStatus
from ipvsctl.cli.options import PlanFormat, StateFormat
from ipvsctl.cli.output import print_data, print_rich
from ipvsctl.cli.show_status import status_parts
from ipvsctl.cluster.store import Store
from ipvsctl.controller.reconciler import Reconciler
from ipvsctl.kernel.seam import Kernel
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.status import NodeStatus, Selection, Summary
from ipvsctl.plan.status import StatusInputs, node_status
