"""From what was said about an API server to a client with credentials.

access           which server, and clients of it
kubeconfig       kubeconfigs as values: the cluster and user of the current context
user             the same, read again for every client
entries          a cluster and a user, with the files they name, to a connection
exec_plugin      the command that tells a user's credentials
service_account  what a pod knows about its cluster
files            files read within limits
connection       a server and a user of its, as a value
client           a client that is made of it
library          the file of kubernetes-asyncio that opens connections
"""
