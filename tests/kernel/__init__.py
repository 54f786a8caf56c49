"""Tests against a kernel with IPVS; they run inside the lab only."""
