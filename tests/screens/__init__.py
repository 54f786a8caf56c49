"""Every screen, in a real terminal of 80 and of 120 columns."""
