"""nftables over netlink: only the names of its tables."""
