"""One event from the API server's bytes to the kernel's acknowledgement, file by file.

docs/design.md walks a stranger through it, along the files that hand the event on; what
they call aside is left out there. Here the walk is taken, with a whole daemon on a fake
API server and this kernel, and the files are noted in the order they are entered.
"""

import asyncio
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

from ipvsctl.cli.objects import Origin, open_api, open_source
from ipvsctl.cli.run import Daemon, serve
from ipvsctl.cluster.store import Store
from ipvsctl.kernel.linux import LinuxKernel
from ipvsctl.model.config import ProxyConfig, ServeConfig
from ipvsctl.plan.union.node import sysctl_names
from tests.builders import raw_endpoint, raw_node, raw_service, raw_slice
from tests.fakes.apiserver import SLICES, FakeApiServer
from tests.pages import DOCS

pytestmark = pytest.mark.kernel

PACKAGE = Path(__file__).parents[2] / "ipvsctl"
MOST_FILES = 35
CONFIG = ProxyConfig(serve=ServeConfig(), sync_period_s=3600, min_sync_period_s=0)


class Visits:
    """The files of the package that are entered while it is told to note.

    Attributes:
        files: a file is there as often as it is entered from another one.
    """

    def __init__(self) -> None:
        self.files: list[str] = []
        self.is_noting = False

    def note(self, frame: FrameType, event: str, _argument: object) -> None:
        """See `sys.setprofile`."""
        if self.is_noting and event == "call":
            path = Path(frame.f_code.co_filename)
            if path.is_relative_to(PACKAGE):
                file = str(path.relative_to(PACKAGE))
                if self.files[-1:] != [file]:
                    self.files.append(file)


@contextmanager
def profiled(visits: Visits) -> Iterator[None]:
    """Have this thread, and those that begin meanwhile, note their visits."""
    threading.setprofile(visits.note)
    sys.setprofile(visits.note)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def table() -> str:
    """What the kernel has, addresses in hexadecimal."""
    return Path("/proc/thread-self/net/ip_vs").read_text()


def walk() -> list[str]:
    """The files that docs/design.md names on the way of one event, in its order."""
    page = (DOCS / "design.md").read_text(encoding="utf-8")
    section = page.partition("## The walk of one event\n")[2].partition("\n## ")[0]
    return re.findall(r"`([a-z_]+/[a-z_/]+\.py)`", section)


async def visited(kernel: LinuxKernel, scratch: Path) -> list[str]:
    """The files entered between a changed slice and its real server in the kernel."""
    async with FakeApiServer() as server:
        server.put(raw_node("node-0"))
        server.put(raw_service("web"))
        server.put(raw_slice("web-1", raw_endpoint("172.16.0.1")))
        origin = Origin(kubeconfig=str(server.kubeconfig(scratch / "kubeconfig")))
        source = open_source(origin, "node-0", CONFIG, open_api(origin))
        store = Store("node-0")
        daemon = Daemon(kernel=kernel, store=store, config=CONFIG, source=source)
        visits = Visits()
        with profiled(visits):
            changing = asyncio.ensure_future(change(server, visits))
            await serve(daemon, scratch / "socket", lambda: asyncio.wait({changing}))
            await changing
    return visits.files


async def change(server: FakeApiServer, visits: Visits) -> None:
    """Add an endpoint to a slice that is served, and note what that visits."""
    async with asyncio.timeout(120):
        await until(lambda: "AC100001" in table() and bool(server.watching(SLICES)))
        # What else there was to do at the start.
        await asyncio.sleep(1)
        visits.is_noting = True
        both = [raw_endpoint("172.16.0.1"), raw_endpoint("172.16.0.2")]
        server.put(raw_slice("web-1", *both))
        await until(lambda: "AC100002" in table())
        # Who is told of it.
        await asyncio.sleep(0.2)
        visits.is_noting = False


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds."""
    # The kernel tells nobody.
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(0.01)


@pytest.mark.usefixtures("netns")
def test_the_walk_is_the_one_of_the_page(tmp_path: Path) -> None:
    """Each file that the page names is entered, in the order of the page."""
    kernel = LinuxKernel.open(vip_link="kube-ipvs0", sysctl_names=sysctl_names())
    try:
        entered = asyncio.run(visited(kernel, tmp_path))
    finally:
        kernel.close()
    left = iter(entered)
    assert [file for file in walk() if file not in left] == []


def test_the_walk_is_short() -> None:
    """A stranger has so many files to read."""
    assert 0 < len(set(walk())) <= MOST_FILES
