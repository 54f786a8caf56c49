"""Kubeconfigs as values, several as one, and the cluster and user that are current.

Files that an entry names are read in `entries`, plugins are asked in
`exec_plugin`.
Source: client-go tools/clientcmd/loader.go, api/v1/types.go (read at v0.36).
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec
from msgspec import inspect

from ipvsctl.cluster.objects.lenient import as_stored
from ipvsctl.cluster.text.documents import NotOneMapping, one_mapping
from ipvsctl.kube.connect.files import Unusable


class Extension(msgspec.Struct, frozen=True):
    """`clusters[].cluster.extensions[]`: settings of somebody else."""

    name: str
    extension: object = None


class Cluster(msgspec.Struct, frozen=True, rename="kebab"):
    """`clusters[].cluster`."""

    server: str = ""
    tls_server_name: str = ""
    insecure_skip_tls_verify: bool = False
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    proxy_url: str = ""
    extensions: tuple[Extension, ...] = ()


class Variable(msgspec.Struct, frozen=True):
    """`exec.env[]`."""

    name: str
    value: str = ""


class Exec(msgspec.Struct, frozen=True, rename="camel"):
    """`users[].user.exec`: a plugin that tells credentials."""

    command: str = ""
    args: tuple[str, ...] = ()
    env: tuple[Variable, ...] = ()
    api_version: str = ""
    install_hint: str = ""
    provide_cluster_info: bool = False
    interactive_mode: str = ""


class AuthProvider(msgspec.Struct, frozen=True):
    """`users[].user.auth-provider`."""

    name: str = ""


class User(msgspec.Struct, frozen=True, rename="kebab"):
    """`users[].user`."""

    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""
    token: str = ""
    token_file: str = msgspec.field(name="tokenFile", default="")
    username: str = ""
    password: str = ""
    exec: Exec | None = None
    auth_provider: AuthProvider | None = None


class Context(msgspec.Struct, frozen=True):
    """`contexts[].context`."""

    cluster: str = ""
    user: str = ""


class NamedCluster(msgspec.Struct, frozen=True):
    """`clusters[]`."""

    name: str
    cluster: Cluster = Cluster()


class NamedUser(msgspec.Struct, frozen=True):
    """`users[]`."""

    name: str
    user: User = User()


class NamedContext(msgspec.Struct, frozen=True):
    """`contexts[]`."""

    name: str
    context: Context = Context()


class Kubeconfig(msgspec.Struct, frozen=True, rename="kebab"):
    """One file."""

    clusters: tuple[NamedCluster, ...] = ()
    users: tuple[NamedUser, ...] = ()
    contexts: tuple[NamedContext, ...] = ()
    current_context: str = ""


class Entry(msgspec.Struct, frozen=True):
    """Where an entry is, for errors and for the paths in it.

    Attributes:
        file: the kubeconfig.
        field: `users[admin].user`.
    """

    file: Path
    field: str

    def unusable(self, name: str, reason: str) -> Unusable:
        """The error that names a field of this entry; `name` may be a path."""
        return Unusable(f"{self.field}.{name}: {reason}", file=str(self.file))

    def beside(self, path: str) -> Path:
        """A path of this entry: a relative one starts at its kubeconfig."""
        return self.file.parent / path


class Chosen(msgspec.Struct, frozen=True, kw_only=True):
    """The cluster and the user of the current context, each with its place."""

    cluster: Cluster
    cluster_entry: Entry
    user: User
    user_entry: Entry


_SHAPE: Final = inspect.type_info(Kubeconfig)


def parse_kubeconfig(file: Path, raw: bytes) -> Kubeconfig:
    """Read a kubeconfig, YAML or JSON; fields nobody reads are left out.

    Raises:
        Unusable: it is not one mapping, a field has another type, or two entries have
            one name.
    """
    try:
        plain, _ = one_mapping(raw, "kubeconfig")
        config = msgspec.convert(as_stored(_without_nulls(plain), _SHAPE), Kubeconfig)
    except NotOneMapping as error:
        raise Unusable(str(error), file=str(file)) from error
    except RecursionError as error:
        raise Unusable("nested too deep", file=str(file)) from error
    except msgspec.ValidationError as error:
        reason, _, place = str(error).partition(" - at `$")
        field = place.strip("`.") or "kubeconfig"
        raise Unusable(f"{field}: {reason}", file=str(file)) from error
    for field, names in (
        ("clusters", [entry.name for entry in config.clusters]),
        ("users", [entry.name for entry in config.users]),
        ("contexts", [entry.name for entry in config.contexts]),
    ):
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise Unusable(f"{field}: {twice[0]!r} is there twice", file=str(file))
    return config


def choose(files: Sequence[tuple[Path, Kubeconfig]]) -> Chosen:
    """The cluster and the user of the current context.

    Of several files, the first with a current context says which that is, and the first
    with an entry of a name has all of that entry. A user that is in no file is nobody,
    as for `kubectl`.

    Raises:
        Unusable: there is no current context, or no cluster for it.
    """
    names = (config.current_context for _, config in files)
    name = next(filter(None, names), "")
    if not name:
        raise Unusable("current-context: is missing")
    in_context = _first(files, lambda config: config.contexts, name)
    if in_context is None:
        raise Unusable(f"contexts: no {name!r}, which current-context is")
    context_file, named = in_context
    context = named.context
    in_cluster = _first(files, lambda config: config.clusters, context.cluster)
    if in_cluster is None:
        reason = f"no {context.cluster!r}, which contexts[{name}] names"
        raise Unusable(f"clusters: {reason}")
    in_user = _first(files, lambda config: config.users, context.user)
    user_file, user = in_user or (context_file, NamedUser(context.user))
    return Chosen(
        cluster=in_cluster[1].cluster,
        cluster_entry=Entry(in_cluster[0], f"clusters[{context.cluster}].cluster"),
        user=user.user,
        user_entry=Entry(user_file, f"users[{context.user}].user"),
    )


_Named = TypeVar("_Named", NamedCluster, NamedUser, NamedContext)


def _first(
    files: Iterable[tuple[Path, Kubeconfig]],
    entries: Callable[[Kubeconfig], Iterable[_Named]],
    name: str,
) -> tuple[Path, _Named] | None:
    """The first entry of this name, and its file."""
    for file, config in files:
        for entry in entries(config):
            if entry.name == name:
                return file, entry
    return None


def _without_nulls(value: object) -> object:
    """A value without the keys that are null, which say nothing in Go's JSON."""
    match value:
        case dict():
            kept = ((key, inner) for key, inner in value.items() if inner is not None)
            return {key: _without_nulls(inner) for key, inner in kept}
        case list():
            return [_without_nulls(inner) for inner in value]
        case _:
            return value
