"""How much memory one node takes."""

import json
import subprocess
import sys

from tests.bench.floor import node_netns
from tests.bench.sizes import Figures, Size
from tests.lab.netns import inside


def measure(size: Size) -> Figures:
    """RSS in bytes, of a process that is this node's proxy and nothing else."""
    words = [sys.executable, "-m", "tests.bench.held", *map(str, size)]
    with node_netns("memory") as netns, inside(netns):
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures
