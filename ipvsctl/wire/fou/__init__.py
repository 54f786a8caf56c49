"""The generic netlink family of UDP ports that unpack other packets."""
