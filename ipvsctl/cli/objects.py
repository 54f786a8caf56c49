"""Where a command's objects come from: manifests, or the Kubernetes API."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from ipvsctl.cli.errors import complain
from ipvsctl.cli.logs import configure_logs
from ipvsctl.cli.options import LogFormat
from ipvsctl.cluster.events import Synced
from ipvsctl.cluster.manifests.manifest import Manifests, changes
from ipvsctl.cluster.store import Store
from ipvsctl.model.config import ProxyConfig
from ipvsctl.model.errors import ApiError, ConfigError
from ipvsctl.sources.bounded import shown

if TYPE_CHECKING:
    from ipvsctl.kube.recorder import EventRecorder
    from ipvsctl.kube.source import ApiSource
    from ipvsctl.kube.transport import Api
    from ipvsctl.kube.tunnel_lease import TunnelAnnouncer
    from ipvsctl.model.api_facts import ApiFacts
    from ipvsctl.sources.source import Source

_ONCE_READ_TIMEOUT_S: Final = 30.0
"""Nobody waits longer at a terminal."""


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Where objects come from; empty means in-cluster.

    Attributes:
        manifests: files and directories.
        kubeconfig: path of one, "" for none.
        master: URL of the API server, "" for none.
    """

    manifests: tuple[Path, ...] = ()
    kubeconfig: str = ""
    master: str = ""

    def __bool__(self) -> bool:
        return bool(self.manifests or self.kubeconfig or self.master)

    @property
    def description(self) -> str:
        """Where objects come from, as the source itself says it."""
        if self.manifests:
            return "manifests in " + ", ".join(map(shown, self.manifests))
        return _api(self).description

    @staticmethod
    def of(
        manifests: Sequence[Path] | None, master: str, config: ProxyConfig
    ) -> "Origin":
        """The origin that options name; manifests come before any API server."""
        if manifests:
            return Origin(manifests=tuple(manifests))
        return Origin(kubeconfig=config.kubeconfig, master=master)


def open_api(origin: Origin, because: str = "") -> "Api":
    """The API server that was named, or that of this pod's cluster; nothing is asked.

    Raises:
        ConfigError: there is none.
    """
    return _api(origin, because=because)


def open_source(
    origin: Origin, node_name: str, config: ProxyConfig, api: "Api | None"
) -> "Source":
    """The source that a daemon follows: manifests, or without any, `api`."""
    if api is not None:
        return _api_source(api, node_name, config, is_patient=True)
    from ipvsctl.sources.manifests import (  # noqa: PLC0415  # not with an API server
        ManifestsSource,
    )

    return ManifestsSource(origin.manifests, config.service_proxy_name)


def read_store(
    origin: Origin,
    node_name: str,
    config: ProxyConfig,
    *,
    verbose: int = 0,
    because: str = "",
) -> Store:
    """Read all objects once.

    Raises:
        ConfigError: nothing says where objects are, or they cannot be read.
        ApiError: the API server does not tell.
    """
    store = Store(node_name)
    if origin.manifests:
        where = "the manifests"
        _read_manifests(origin, store, config, verbose=verbose)
    else:
        api = _api(origin, because=because, read_timeout_s=_ONCE_READ_TIMEOUT_S)
        where = f"the {api.description}"
        source = _api_source(api, node_name, config, is_patient=False)
        configure_logs(LogFormat.CONSOLE, verbose=0)
        asyncio.run(_fill(store, source))
    if node_name not in store.nodes:
        complain(
            f"warning: no Node {node_name} in {where}:"
            " its zone, addresses and pod networks are unknown"
        )
    return store


def read_if_any(
    origin: Origin, node_name: str, config: ProxyConfig, *, verbose: int
) -> tuple[Store | None, str]:
    """Read all objects if something says where they are.

    A cluster that was not asked for, but happens to be around, is no reason to fail.

    Returns:
        The store, and where its objects come from; None and "" without.
    """
    from ipvsctl.kube.connect.service_account import (  # noqa: PLC0415  # costs what it imports
        is_in_cluster,
    )

    if not origin and not is_in_cluster():
        return None, ""
    try:
        store = read_store(origin, node_name, config, verbose=verbose)
    except (ApiError, ConfigError) as error:
        if origin:
            raise
        complain(f"warning: objects are unknown: {error}")
        return None, ""
    return store, origin.description


def _read_manifests(
    origin: Origin, store: Store, config: ProxyConfig, *, verbose: int
) -> None:
    from ipvsctl.sources.manifests import (  # noqa: PLC0415  # not with an API server
        load_manifests,
    )

    found = load_manifests(origin.manifests, config.service_proxy_name)
    for event in changes(Manifests(), found):
        store.apply(event)
    if verbose:
        for kind, count in sorted(found.skipped.items()):
            complain(f"note: {count} of {kind} skipped")


def _api(
    origin: Origin, *, because: str = "", read_timeout_s: float | None = None
) -> "Api":
    from ipvsctl.kube.connect.access import (  # noqa: PLC0415  # not with manifests
        Access,
        Address,
    )
    from ipvsctl.kube.connect.service_account import (  # noqa: PLC0415  # not with manifests
        is_in_cluster,
    )
    from ipvsctl.kube.transport import (  # noqa: PLC0415  # not with manifests
        READ_TIMEOUT_S,
        Api,
    )

    if not origin and not is_in_cluster():
        what = "a file or directory of Services and EndpointSlices is needed, or"
        raise ConfigError(
            field="--manifests",
            value=None,
            reason=f"{what} --kubeconfig or --master outside of a cluster{because}",
        )
    access = Access(Address(kubeconfig=origin.kubeconfig, master=origin.master))
    return Api(access, read_timeout_s=read_timeout_s or READ_TIMEOUT_S)


def _api_source(
    api: "Api", node_name: str, config: ProxyConfig, *, is_patient: bool
) -> "ApiSource":
    from ipvsctl.kube.source import ApiSource  # noqa: PLC0415  # not with manifests

    return ApiSource(
        api,
        node_name,
        config.service_proxy_name,
        has_tunnel=config.has_tunnel,
        is_patient=is_patient,
    )


def probe(origin: Origin, node_name: str, config: ProxyConfig) -> "ApiFacts | None":
    """What the API server says of this node; None without one.

    Raises:
        ConfigError: the credentials cannot be used.
    """
    from ipvsctl.kube.connect.service_account import (  # noqa: PLC0415  # costs what it imports
        is_in_cluster,
    )

    if origin.manifests or not (origin or is_in_cluster()):
        return None
    from ipvsctl.kube.probe import probe_api  # noqa: PLC0415  # not with manifests

    return asyncio.run(
        probe_api(
            _api(origin),
            node_name,
            config.service_proxy_name,
            has_tunnel=config.has_tunnel,
        )
    )


def open_recorder(api: "Api | None", node_name: str) -> "EventRecorder | None":
    """The recorder of Events, if there is an API server to post them to."""
    if api is None:
        return None
    from ipvsctl.kube.recorder import (  # noqa: PLC0415  # not with manifests
        EventRecorder,
    )

    return EventRecorder(api, node_name)


def open_announcer(
    api: "Api | None", node_name: str, config: ProxyConfig
) -> "TunnelAnnouncer | None":
    """What tells other nodes where this one takes packets in tunnels, if it does."""
    if api is None or not config.has_tunnel:
        return None
    from ipvsctl.kube.tunnel_lease import (  # noqa: PLC0415  # not with manifests
        TunnelAnnouncer,
    )

    return TunnelAnnouncer(api, node_name)


async def _fill(store: Store, source: "Source") -> None:
    async with aclosing(source.events()) as events:
        async for event in events:
            store.apply(event)
            if isinstance(event, Synced):
                return
