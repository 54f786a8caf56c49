"""Servers of the daemon: probes, metrics, health-check node ports, control socket."""
