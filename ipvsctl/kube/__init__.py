"""The Kubernetes API: connecting, listing and watching, telling Events.

library     what is used of kubernetes-asyncio, when it is first used
access      where the server is, and with which credentials
transport   one request, and its errors
lines       chunks of a body to lines
words       lines to changes, answers to lists; no object is read here
resources   what is watched, and how it is selected
list_watch  a list, then a watch from where it ended
reflector   the same again and again, paced, for one kind
health      what is told of a watch
peers       the other Nodes, which are listed now and then
source      all of it as one source of events
event_words, budget, recorder   problems to Events of events.k8s.io
"""
