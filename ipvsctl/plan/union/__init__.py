"""The state the node should hold: the union of all programs and the node's own."""
