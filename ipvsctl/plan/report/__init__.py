"""Reports about a node: status, counts, drift, traffic, checks."""
