"""A packet's way through a node: rules, sets and virtual servers, step by step."""
