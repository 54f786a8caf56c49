"""Runs a command as root, with IPVS, in a world that is thrown away afterwards.

`python -m tests.lab -- COMMAND` for people, `run` for programs. On a kernel with
`ip_vs` and `dummy` the world is a set of fresh namespaces, elsewhere a user-mode Linux
guest. `netns`, `topology` and `traffic` are for code that runs inside.
"""

from tests.lab.errors import LabError, NoLab, TimeLimit, WorldDied
from tests.lab.host import Kind
from tests.lab.world import run

__all__ = ["Kind", "LabError", "NoLab", "TimeLimit", "WorldDied", "run"]
