"""Tests of the IPVS codec."""
