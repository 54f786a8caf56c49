"""The command line: each command with its options and its help text."""
