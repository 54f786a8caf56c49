"""The relay of node ports on localhost: one thread, and what it is told."""
