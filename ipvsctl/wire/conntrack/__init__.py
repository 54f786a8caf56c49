"""Connection tracking over nfnetlink."""
