"""iptables rules as text: `iptables-save` and `iptables-restore`."""
