"""The meaning of a Service: its program, made of the objects and the node alone."""
