"""The Services that everything else on a node waits for."""

from typing import Final

from ipvsctl.model.host import API_SERVICE
from ipvsctl.model.problem import ObjectRef

URGENT_SERVICES: Final = frozenset(
    {
        API_SERVICE,
        ObjectRef("kube-system", "kube-dns"),
        ObjectRef("kube-system", "coredns"),
    }
)
"""Programmed before all others on a cold start: everything else on a new node, its
CNI plugin first, waits for the API server and DNS (k/k#133773)."""
