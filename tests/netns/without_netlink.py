"""Runs a command that can open no netlink sockets, or none of one protocol, as on a kernel without it.

A seccomp filter, kept by everything that the command starts. Not a test:

  without_netlink.py all|PROTOCOL COMMAND ...      PROTOCOL: a number of linux/netlink.h
"""
import ctypes
import errno
import os
import socket
import sys

NETLINK_NETFILTER = 12
ALLOW, ERRNO, EQUAL, NO_NEW_PRIVS = 0x7fff0000, 0x00050000, 4, 3      # seccomp.h of libseccomp


class Comparison(ctypes.Structure):
    _fields_ = [("argument", ctypes.c_uint), ("operator", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64)]


def prefix(protocol="all"):
    """What to put in front of a command."""
    return ["/usr/bin/python3", os.path.abspath(__file__), str(protocol)]


def install(protocol):
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    library.seccomp_rule_add_array.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(Comparison)]
    library.seccomp_load.argtypes = [ctypes.c_void_p]
    filters = library.seccomp_init(ALLOW)
    rules = [Comparison(0, EQUAL, socket.AF_NETLINK, 0)]
    if protocol != "all":
        rules.append(Comparison(2, EQUAL, int(protocol), 0))
    number = library.seccomp_syscall_resolve_name(b"socket")
    for step in (library.seccomp_attr_set(filters, NO_NEW_PRIVS, 0),
                 library.seccomp_rule_add_array(filters, ERRNO | errno.EPROTONOSUPPORT, number, len(rules),
                                                (Comparison * len(rules))(*rules)),
                 library.seccomp_load(filters)):
        if step != 0:
            sys.exit(f"no filter: {os.strerror(-step)}")


if __name__ == "__main__":
    install(sys.argv[1])
    os.execvp(sys.argv[2], sys.argv[2:])
