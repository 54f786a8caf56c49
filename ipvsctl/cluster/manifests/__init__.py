"""Manifest files: many objects a file, many files one cluster."""
