"""What the daemon offers to others on this node."""
