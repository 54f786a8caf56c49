"""The fixed rules, and the sets that they ask."""
