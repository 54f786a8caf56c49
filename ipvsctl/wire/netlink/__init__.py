"""The common part of netlink protocols: framing, attributes, addresses."""
