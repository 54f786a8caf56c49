"""The one seam to the kernel: sockets, the state reader, the plan applier."""
