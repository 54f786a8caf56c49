"""API objects: bytes to wire shapes, wire shapes to values."""
