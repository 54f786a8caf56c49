"""sock_diag: sockets of the host that wait for clients."""
