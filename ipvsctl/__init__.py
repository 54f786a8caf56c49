"""ipvsctl, the Kubernetes service proxy for clusters that run on IPVS."""

__version__ = "0.1.0"
