"""The Kubernetes API: connecting, listing and watching, telling Events.

connect       the server and the credentials to a client
transport     one request, and its errors
lines         chunks of a body to lines
api_messages  lines to changes, answers to lists; no object is read here
resources     what is watched, and how it is selected
list_watch    a list, then a watch from where it ended
belief        whether a list that lacks much is believed
reflector     a list and its watch again and again, paced, for one kind
pulse         a sign of life of the server while its watches are silent
health        how a watch is doing
servers       addresses of the API server, looked up now and then
other_nodes   the other Nodes, listed now and then
uids          the uid of an object, for those who tell of it
waiting       for whichever comes first
tunnel_lease  where this node takes packets in tunnels, told to the others
source        everything above as one source of events
budget        how many Events may be told
event_body    a problem to an Event of events.k8s.io
recorder      Events, posted
"""
