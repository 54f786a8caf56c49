"""What must change: the difference of two states, as ops in a safe order."""
