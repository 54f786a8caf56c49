"""rtnetlink: addresses and routes.

The kernel looks from the first route of an address to the last. IPv4 puts a new route
first unless told otherwise, and that of an address last (fib_frontend.c:fib_magic).
IPv6 sorts by metric: a route of ours has 1024, that of an address 0
(net/ipv6/route.c:inet6_rtm_newroute, addrconf_f6i_alloc).
"""
