"""rtnetlink: addresses and routes."""
