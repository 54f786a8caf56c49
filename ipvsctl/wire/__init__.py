"""Bytes and text to values and back; no socket, no process, no clock."""
