"""`kubectl ipvs`: ipvsctl's commands, run on nodes from where kubectl is.

Nothing but the standard library is imported, so that it can be one file for people who
have no ipvsctl. It talks to the cluster through kubectl alone.
"""
