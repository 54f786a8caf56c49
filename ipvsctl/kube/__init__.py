"""The Kubernetes API: connecting, listing and watching, telling Events.

credentials         where the server is, and with which credentials it is asked
kubeconfig          kubeconfigs as values: the cluster and user of the current context
kubeconfig_user     the same, read again for every client
kubeconfig_entries  a cluster and a user, with the files they name, to a connection
exec_plugin         the command that tells a user's credentials
service_account     what a pod knows about its cluster
credential_files    files read within limits
connection          what a client needs to know, as a value
client              a client that is made of it
library             the file of kubernetes-asyncio that opens connections
transport           one request, and its errors
lines               chunks of a body to lines
api_messages        lines to changes, answers to lists; no object is read here
resources           what is watched, and how it is selected
list_watch          a list, then a watch from where it ended
belief              whether a list that lacks much is believed
reflector           a list and its watch again and again, paced, for one kind
pulse               a sign of life of the server while its watches are silent
health              how a watch is doing
servers             addresses of the API server, looked up now and then
other_nodes         the other Nodes, listed now and then
source              everything above as one source of events
budget              how many Events may be told
event_body          a problem to an Event of events.k8s.io
recorder            Events, posted
"""
