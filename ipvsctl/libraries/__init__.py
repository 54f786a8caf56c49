"""Libraries that are imported in part: what they bring for others is left out.

parts    how
log      structlog
pyroute  pyroute2
"""
