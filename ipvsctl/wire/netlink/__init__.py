"""What all netlink protocols share: framing, attributes, addresses."""
