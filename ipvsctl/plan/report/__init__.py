"""What there is to say about a node: status, counts, drift, traffic, checks."""
