"""The peer: what kube-proxy in IPVS mode would make of a cluster, to be equal to."""
