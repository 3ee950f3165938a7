"""Matrix row 17 with a real DHCP server and client."""
import os
import shutil
import subprocess

import lab as labs
import scenes
from cases import Skip, case
from client import DIRECT, VIA_PROXY, both, expect_way
from lab import wait_until

# What a DHCP client's hook does with option 121 (RFC 3442): "network gateway network gateway ...".
HOOK = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip address replace "$ip/$mask" dev "$interface"
set -- $staticroutes
while [ $# -ge 2 ]; do
  ip route replace "$1" via "$2" dev "$interface"
  shift 2
done
"""


def serve_dhcp(lab, *routes):
    """dnsmasq on the LAN, as the attacker (CVE-2024-3661) runs it: the same address, and routes of his choice."""
    argv = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root", "--interface=br-lan",
            "--bind-interfaces", "--no-ping", "--dhcp-authoritative", "--dhcp-range=192.168.50.100,192.168.50.110,255.255.255.0,10m",
            f"--dhcp-host={labs.HOST_MAC},{labs.HOST[0]}", f"--dhcp-leasefile={lab.path('dhcp', 'leases')}",
            f"--pid-file={lab.path('dhcp', 'pid')}", "--dhcp-option-force=121," + ",".join(routes)]
    with open(lab.path("logs", "dnsmasq"), "w", encoding="ascii") as log:
        server = subprocess.Popen(lab.router.argv(argv), stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def end():
        server.kill()
        server.wait(10)
    lab.on_close(end)


@case("row_17_dhcp_option_121")
def test_row_17_dhcp(lab):
    """Routes that a real DHCP server pushes by option 121 to a real client: there, and without a say over TCP; the lease is not hindered."""
    for tool in ("dnsmasq", "udhcpc"):
        if not shutil.which(tool):
            raise Skip(f"no {tool} here")
    proxy, ours, daemon = scenes.start(lab)
    lab.lan.sysctl({"ipv4/ip_forward": 1})
    serve_dhcp(lab, "203.0.113.64/26", labs.LAN[0], "0.0.0.0/1", labs.LAN[0], "128.0.0.0/1", labs.LAN[0], "0.0.0.0/0", labs.ROUTER[0])
    hook = lab.path("dhcp", "hook")
    with open(hook, "w", encoding="ascii") as file:
        file.write(HOOK)
    os.chmod(hook, 0o755)
    with lab.capture(proxies=proxy.endpoints) as wire:
        lab.host.run(["udhcpc", "-f", "-n", "-q", "-t", "10", "-T", "2", "-i", "eth0", "-s", hook, "-O", "staticroutes"], timeout=60)
        routes = lab.host.run(["ip", "route", "show"]).stdout
        for network in ("203.0.113.64/26", "0.0.0.0/1", "128.0.0.0/1"):
            assert f"{network} via {labs.LAN[0]}" in routes, routes
        wait_until(lambda: all(r.kind == VIA_PROXY for r in both(lab, labs.WEB)), 20, "traffic flows through the proxy")
        wire.barrier()
        assert wire.counts["dhcp"] >= 2, f"the client spoke to nobody: {wire.counts}"
    scenes.finish(ours, daemon)
    expect_way(both(lab, labs.WEB), DIRECT)
