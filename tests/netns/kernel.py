"""The few system calls that Python 3.11 has no function for, and network namespaces as objects."""
import ctypes
import os
import socket
import subprocess
import threading

libc = ctypes.CDLL(None, use_errno=True)
libc.mount.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p)

CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
PR_SET_PDEATHSIG = 1
SO_MARK = 36
SO_BINDTODEVICE = 25
SYS_SETFSUID = {"x86_64": 122, "aarch64": 151}.get(os.uname().machine, 122)


def check(result, what):
    if result != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{what}: {os.strerror(error)}")


def unshare(flags):
    check(libc.unshare(flags), "unshare")


def mount(source, target, kind, flags=0, data=""):
    check(libc.mount(source.encode(), str(target).encode(), kind.encode(), flags, data.encode()),
          f"mount {kind} {target}")


def bind_mount(source, target):
    mount(str(source), target, "none", MS_BIND | MS_REC)


def die_with_parent():
    check(libc.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0), "prctl(PR_SET_PDEATHSIG)")


def set_filesystem_uid(uid):
    """For the calling thread alone: sockets made now belong to `uid` for `meta skuid`."""
    return libc.syscall(SYS_SETFSUID, uid)


class NetNs:
    """A named network namespace (in the sandbox's private /run/netns).

    Sockets are made inside by the calling thread (setns(2) is per thread) and used from anywhere.
    """

    def __init__(self, name):
        self.name = name
        run(["ip", "netns", "add", name])
        self.path = f"/run/netns/{name}"
        self.fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        self._before = threading.local()

    def __enter__(self):
        self._before.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        check(libc.setns(self.fd, CLONE_NEWNET), f"setns {self.name}")
        return self

    def __exit__(self, *_):
        fd = self._before.fd
        check(libc.setns(fd, CLONE_NEWNET), "setns back")
        os.close(fd)

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM, protocol=0, uid=None):
        with self:
            if uid is None:
                return socket.socket(family, kind, protocol)
            set_filesystem_uid(uid)
            try:
                return socket.socket(family, kind, protocol)
            finally:
                set_filesystem_uid(0)

    def argv(self, argv):
        """The command line that runs `argv` here; nsenter execs, so the process id stays."""
        return ["nsenter", f"--net={self.path}", "--", *map(str, argv)]

    def run(self, argv, **options):
        return run(self.argv(argv), **options)

    def ip(self, *lines):
        """`ip -batch` with these lines; those that begin with "-6 " come last."""
        for flags, chosen in (([], [x for x in lines if not x.startswith("-6 ")]),
                              (["-6"], [x[3:] for x in lines if x.startswith("-6 ")])):
            if chosen:
                run(self.argv(["ip", *flags, "-batch", "-"]), input="\n".join(chosen) + "\n")

    def sysctl(self, values):
        with self:
            for key, value in values.items():
                with open("/proc/sys/net/" + key, "w", encoding="ascii") as file:
                    file.write(str(value))


def run(argv, check=True, timeout=30, **options):
    """subprocess.run with text, bounded in time; the error shows what the command said."""
    if "input" not in options:
        options.setdefault("stdin", subprocess.DEVNULL)
    options.setdefault("stdout", subprocess.PIPE)
    options.setdefault("stderr", subprocess.PIPE)
    done = subprocess.run(list(map(str, argv)), check=False, text=True, timeout=timeout,
                          errors="replace", **options)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, argv))}: exit {done.returncode}\n"
                           f"{done.stdout or ''}{done.stderr or ''}")
    return done
