"""The ipset subsystem of nfnetlink."""
