"""The configuration file: its fields, and how each is read."""
