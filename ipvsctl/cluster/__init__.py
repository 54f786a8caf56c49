"""Kubernetes objects to values, and the store that says which Services became dirty.

text       bytes of a file to plain values
config     the configuration file to settings
objects    an object of the API, or of a manifest, to values
manifests  files of objects to one cluster, and its changes
events     news of a source, as values
store      the objects of the cluster, and which Services changed
vouched    how much of the cluster is known for sure
"""
