"""proxyvpn-selftest where rules and routes cannot be read: exit code 17."""
import sys

import lab as labs
import scenes
import servers
from cases import case
from test_selftest import OK, RCODE, binary

NO_ROUTES = 17
# Runs a command that may not open a netlink socket, as under systemd's RestrictAddressFamilies=AF_INET AF_INET6.
WITHOUT_NETLINK = """
import ctypes, errno, os, platform, struct, sys
LOAD, EQUAL, RETURN, ALLOW, DENY = 0x20, 0x15, 0x06, 0x7FFF0000, 0x00050000 | errno.EAFNOSUPPORT
SOCKET, AF_NETLINK = {"x86_64": 41, "aarch64": 198}[platform.machine()], 16
# struct seccomp_data: the number of the call at 0, its first argument at 16.
program = [(LOAD, 0, 0, 0), (EQUAL, 0, 3, SOCKET), (LOAD, 0, 0, 16), (EQUAL, 0, 1, AF_NETLINK),
           (RETURN, 0, 0, DENY), (RETURN, 0, 0, ALLOW)]
code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
head = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, FILTER = 38, 22, 2
for call in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, FILTER, ctypes.addressof(head), 0, 0)):
    if libc.prctl(*map(ctypes.c_ulong, call)) != 0:
        sys.exit(f"prctl{call}: {os.strerror(ctypes.get_errno())}")
os.execv(sys.argv[1], sys.argv[1:])
"""


def ask(lab, *arguments, exit_code):
    """What it printed, both streams."""
    argv = [sys.executable, "-c", WITHOUT_NETLINK, binary(), "--server", labs.DNS[0], "--timeout-ms", "8000",
            *arguments]
    done = labs.kernel.run(lab.host.argv(argv), check=False, timeout=60)
    text = done.stdout + done.stderr
    assert done.returncode == exit_code, f"{arguments}: exit {done.returncode}, not {exit_code}: {text}"
    return text


@case("selftest_without_routes", timeout=60)
def test_without_routes(lab):
    """The answer is told all the same; a question that fails has the word; --no-ip reads no routes."""
    servers.Dns(lab, names=scenes.NAMES)
    text = ask(lab, "--name", "web.test", exit_code=NO_ROUTES)
    assert labs.WEB[0] in text and "netlink" in text.lower(), text
    ask(lab, "--name", "no-such-host.invalid", exit_code=RCODE)
    ask(lab, "--name", "web.test", "--no-ip", exit_code=OK)
