"""`connect.kubeconfig`: what kubeconfigs say, one or several."""

from pathlib import Path

import pytest

from ipvsctl.kube.connect.files import Unusable
from ipvsctl.kube.connect.kubeconfig import (
    Chosen,
    Cluster,
    Exec,
    Variable,
    choose,
    parse_kubeconfig,
)

WHOLE = """\
apiVersion: v1
kind: Config
preferences: {}
current-context: second
contexts:
- name: first
  context: {cluster: one, user: someone}
- name: second
  context:
    cluster: two
    user: plugin
    namespace: kube-system
clusters:
- name: one
  cluster: {server: 'https://one:6443'}
- name: two
  cluster:
    server: https://two:6443
    certificate-authority: pki/ca.crt
    insecure-skip-tls-verify: off
    tls-server-name: kubernetes
    proxy-url: http://proxy:3128
users:
- name: plugin
  user:
    client-key: null
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: get-token
      args: [--cluster, y]
      env: [{name: REGION, value: north}, {name: EMPTY, value: null}]
      interactiveMode: Never
"""


def chosen(*files: tuple[str, str]) -> Chosen:
    """The cluster and user of these files, by path and text."""
    parsed = [(Path(p), parse_kubeconfig(Path(p), t.encode())) for p, t in files]
    return choose(parsed)


def test_the_current_context() -> None:
    """Names lead from the current context to a cluster and a user."""
    found = chosen(("/etc/k", WHOLE))
    assert found.cluster == Cluster(
        server="https://two:6443",
        certificate_authority="pki/ca.crt",
        tls_server_name="kubernetes",
        proxy_url="http://proxy:3128",
    )
    assert found.user.exec == Exec(
        api_version="client.authentication.k8s.io/v1",
        command="get-token",
        # A plain letter is text where text is expected.
        args=("--cluster", "y"),
        env=(Variable("REGION", "north"), Variable("EMPTY")),
        interactive_mode="Never",
    )
    assert found.cluster_entry.field == "clusters[two].cluster"
    assert found.user_entry.field == "users[plugin].user"


def test_a_user_that_is_nobody() -> None:
    """A context whose user is in no file asks as nobody, as `kubectl` does."""
    found = chosen(("k", WHOLE.replace("user: plugin", "user: gone")))
    assert found.user.exec is None
    assert found.user_entry.field == "users[gone].user"


FIRST = """\
current-context: mine
contexts: [{name: mine, context: {cluster: shared, user: me}}]
clusters: [{name: shared, cluster: {server: 'https://first', tls-server-name: a}}]
"""
SECOND = """\
current-context: other
contexts:
- {name: mine, context: {cluster: none, user: none}}
- {name: other, context: {cluster: shared, user: me}}
clusters: [{name: shared, cluster: {server: 'https://second', proxy-url: 'http://p'}}]
users: [{name: me, user: {tokenFile: token}}]
"""


@pytest.mark.parametrize(
    ("files", "server", "proxy"),
    [
        ((FIRST, SECOND), "https://first", ""),
        ((SECOND, FIRST), "https://second", "http://p"),
        (("contexts: null", SECOND), "https://second", "http://p"),
        ((FIRST.replace("current-context", "x"), SECOND), "https://first", ""),
    ],
)
def test_several_files(files: tuple[str, str], server: str, proxy: str) -> None:
    """The first with a current context, and the first with a name, has its way.

    Source: Kubernetes docs "Organizing cluster access using kubeconfig files".
    """
    found = chosen(("/a/k", files[0]), ("/b/k", files[1]))
    assert (found.cluster.server, found.cluster.proxy_url) == (server, proxy)
    assert found.user.token_file == "token"


def test_paths_are_those_of_their_file() -> None:
    """A relative path starts at the kubeconfig that has the entry."""
    found = chosen(("/a/k", FIRST), ("/b/k", SECOND))
    assert found.user_entry.beside(found.user.token_file) == Path("/b/token")
    assert found.cluster_entry.beside("pki/ca") == Path("/a/pki/ca")
    assert found.cluster_entry.beside("/etc/ca") == Path("/etc/ca")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "not one kubeconfig document"),
        ("a: 1\n---\nb: 2", "not one kubeconfig document"),
        ("{]", "document 1: not JSON"),
        ("a: b", "current-context: is missing"),
        ("current-context: x", "contexts: no 'x', which current-context is"),
        (
            "{current-context: x, contexts: [{name: x, context: {cluster: c}}]}",
            "clusters: no 'c', which contexts[x] names",
        ),
        ("users: {}", "users: Expected `array`, got `object`"),
        ("users: [{user: {}}]", "users[0]: Object missing required field `name`"),
        (
            "users: [{name: a, user: {token: 12}}]",
            "users[0].user.token: Expected `str`, got `int`",
        ),
        (
            "clusters: [{name: a, cluster: {insecure-skip-tls-verify: 1}}]",
            "clusters[0].cluster.insecure-skip-tls-verify: Expected `bool`, got `int`",
        ),
        ("users: [{name: a}, {name: b}, {name: a}]", "users: 'a' is there twice"),
        ("{" + '"a":{' * 50_000 + "}" * 50_001, "nested too deep"),
    ],
)
def test_errors_name_the_field(text: str, said: str) -> None:
    """What is wrong is said with its place."""
    with pytest.raises(Unusable) as caught:
        chosen(("k", text))
    assert said in caught.value.reason
