"""`ipvsctl run` beside kube-proxy: same lab, same objects, same API server, in turn.

What is measured of either is what anybody can see from outside: what is in the kernel,
and what `/proc` says of the process and of those that it started. kube-proxy is not of
this project; who wants it measured says in which directory its binary is.
"""
