"""Sources of objects, on real files."""
