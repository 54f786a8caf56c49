"""Tunnel between nodes: experiments."""
import subprocess, sys, time
from ipaddress import ip_address
import pytest
from ipvsctl.model.net import Protocol, parse_address
from tests.lab.netns import inside
from tests.lab.topology import cluster
from tests.lab.traffic import Servers, ask, connect

def sh(ns, *cmds):
    with inside(ns):
        for c in cmds:
            r = subprocess.run(c, shell=True, capture_output=True, text=True)
            if r.returncode: print("FAIL", c, r.stderr, file=sys.stderr)
            elif r.stdout: print(r.stdout)

V4, V6 = "203.0.113.50", "2001:db8:203::50"
PORT = 80
def main(rp="0"):
    with cluster(pods=(2,2)) as w, Servers() as servers:
        a, b = (n.netns for n in w.nodes)
        for p in w.pods.values():
            for addr in (p.ipv4, p.ipv6):
                servers.add(p.netns, addr, 8080, protocol=Protocol.TCP)
                servers.add(p.netns, addr, 8080, protocol=Protocol.UDP)
        for n in (a, b):
            sh(n, "modprobe ip_vs; modprobe fou; modprobe fou6; modprobe ipip; modprobe ip6_tunnel; true",
               "sysctl -qw net.ipv4.vs.conntrack=1",
               "ip link add vip0 type dummy", "ip link set vip0 up",
               f"ip addr add {V4}/32 dev vip0", f"ip -6 addr add {V6}/128 dev vip0 nodad",
               "sysctl -qw net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2",
               f"sysctl -qw net.ipv4.conf.all.rp_filter={rp} net.ipv4.conf.eth0.rp_filter={rp} net.ipv4.conf.default.rp_filter={rp}",
               "ip fou add port 6080 gue", "ip -6 fou add port 6080 gue",
               )
        for n, h in ((a, w.nodes[0]), (b, w.nodes[1])):
            sh(n, f"ip link add t4 type ipip local {h.ipv4} remote any ttl 64", "ip link set t4 up",
               f"ip -6 link add t6 type ip6tnl mode ip6ip6 local {h.ipv6} remote any 2>&1 || ip link add t6 type ip6tnl mode ip6ip6 local {h.ipv6}", "ip link set t6 up", "ip -d link show t4; ip -d link show t6")
            sh(n, f"sysctl -qw net.ipv4.conf.t4.rp_filter=2", "ip addr add 169.254.77.1/32 scope host dev t4")
        B4, B6 = w.nodes[1].ipv4, w.nodes[1].ipv6
        A4, A6 = w.nodes[0].ipv4, w.nodes[0].ipv6
        def vs(n, other4, other6, local):
            for fam, vip, o in ((4, V4, other4), (6, f"[{V6}]", other6)):
                for opt in ("-t", "-u"):
                    sh(n, f"ipvsadm -A {opt} {vip}:{PORT} -s rr")
                    oo = o if fam == 4 else f"[{o}]"
                    sh(n, f"ipvsadm -a {opt} {vip}:{PORT} -r {oo}:{PORT} -i --tun-type gue --tun-port 6080 -w 2")
                    for p in local:
                        addr = p.ipv4 if fam == 4 else f"[{p.ipv6}]"
                        sh(n, f"ipvsadm -a {opt} {vip}:{PORT} -r {addr}:8080 -m")
        pa = [w.pods["pod-0-0"], w.pods["pod-0-1"]]; pb = [w.pods["pod-1-0"], w.pods["pod-1-1"]]
        vs(a, B4, B6, pa); vs(b, A4, A6, pb)
        # local only, by fwmark of the input link
        for n, local in ((a, pa), (b, pb)):
            sh(n, f"iptables -t mangle -A PREROUTING -i t4 -d {V4} -j MARK --set-mark 0x21000",
                  f"ip6tables -t mangle -A PREROUTING -i t6 -d {V6} -j MARK --set-mark 0x21000",
                  "ipvsadm -A -f 135168 -s rr", "ipvsadm -A -f 135168 -6 -s rr")
            for p in local:
                sh(n, f"ipvsadm -a -f 135168 -r {p.ipv4}:8080 -m", f"ipvsadm -a -f 135168 -6 -r [{p.ipv6}]:8080 -m")
        for proto in (Protocol.TCP, Protocol.UDP):
            for vip in (V4, V6):
                got = []
                for _ in range(12):
                    try:
                        x = ask(w.client.netns, parse_address(vip), PORT, protocol=proto, timeout_s=1)
                        got.append(f"{x.server}<-{x.source}")
                    except Exception as e:
                        got.append(repr(e))
                print(proto.label, vip, rp, {g: got.count(g) for g in set(got)})
        sh(a, "ipvsadm -Ln --stats"); sh(b, "ipvsadm -Ln --stats")
        sh(a, "conntrack -L 2>/dev/null | head -6", "cat /proc/net/nf_conntrack 2>/dev/null | head -8")
        return w
for rp in sys.argv[1:] or ["0"]:
    main(rp)
