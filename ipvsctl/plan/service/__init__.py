"""What a Service means: its program, made of the objects and the node alone."""
