"""Each test case in a process, mount and network world of its own.

The case runs in a new PID namespace, so whatever it started ends with it, whoever ends it and how
(ctest's time-out included); in a new mount namespace with its own /run, /etc and /dev/net/tun; and
touches only network namespaces whose names live in that private /run.
"""
import os
import signal
import subprocess
import sys
import threading
import time

import kernel

WORK = "/run/lab"
TEST_UID, TEST_GID = 64010, 64010        # the ordinary user "pvtest"
OTHER_UID, OTHER_GID = 64011, 64011      # another one, "pvother"
GROUP_GID = 64012                        # group "proxyvpn", to which pvtest belongs


def possible():
    """None, or why namespaces cannot be had here."""
    if os.geteuid() != 0:
        return "needs root (own namespaces of every kind)"
    if not os.path.exists("/proc/self/ns/net"):
        return "the kernel has no network namespaces"
    pid = os.fork()
    if pid == 0:
        try:
            kernel.unshare(kernel.CLONE_NEWPID | kernel.CLONE_NEWNS | kernel.CLONE_NEWNET)
            os._exit(0)
        except OSError:
            os._exit(1)
    if os.waitpid(pid, 0)[1] != 0:
        return "unshare(2) is not permitted here"
    return None


def run_isolated(function, timeout):
    """Runs function() -> exit status in the sandbox and returns it; 124 after `timeout` seconds."""
    pid = os.fork()
    if pid == 0:
        _outer(function)
    deadline = time.monotonic() + timeout

    def forward(number, _frame):
        os.kill(pid, signal.SIGKILL)   # its init goes with it, and all inside
        sys.exit(128 + number)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, forward)
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return 124
        time.sleep(0.01)


def _outer(function):
    kernel.die_with_parent()
    kernel.unshare(kernel.CLONE_NEWPID | kernel.CLONE_NEWNS)
    init = os.fork()
    if init == 0:
        kernel.die_with_parent()
        _init(function)
    status = os.waitpid(init, 0)[1]
    code = os.waitstatus_to_exitcode(status)
    os._exit(code if code >= 0 else 128 - code)


def _init(function):
    """Process 1: prepares the mounts, runs the case as its child and collects what is orphaned."""
    try:
        _mounts()
    except OSError as error:
        print(f"sandbox: {error}", file=sys.stderr, flush=True)
        os._exit(1)
    worker = os.fork()
    if worker == 0:
        code = 1
        try:
            code = function()
        except BaseException as error:  # noqa: the only place that must always reach _exit
            import traceback
            traceback.print_exception(error)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    while True:
        try:
            done, status = os.waitpid(-1, 0)
        except InterruptedError:
            continue
        if done == worker:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def _mounts():
    kernel.mount("none", "/", "none", kernel.MS_REC | kernel.MS_PRIVATE)
    kernel.mount("proc", "/proc", "proc")
    # exec and suid are wanted here: the product's copy with a file capability lies in WORK.
    kernel.mount("tmpfs", "/run", "tmpfs", 0, "mode=755")
    for name in ("lab", "etc-upper", "etc-work", "sshd", "lock", "netns"):
        os.mkdir(f"/run/{name}")
    try:
        kernel.mount("overlay", "/etc", "overlay", 0,
                     "lowerdir=/etc,upperdir=/run/etc-upper,workdir=/run/etc-work")
    except OSError:
        subprocess.run(["cp", "-a", "/etc/.", "/run/etc-upper"], check=True)
        kernel.bind_mount("/run/etc-upper", "/etc")
    _device()
    _users()


def _device():
    os.mkdir(f"{WORK}/dev")
    kernel.mount("tmpfs", f"{WORK}/dev", "tmpfs", 0, "mode=755")
    old = os.umask(0)
    os.mknod(f"{WORK}/dev/tun", 0o020666, os.makedev(10, 200))
    os.umask(old)
    if not os.path.exists("/dev/net/tun"):
        # A private /dev/net; the machine's /dev is left as it is.
        if not os.path.isdir("/dev/net"):
            raise OSError("/dev/net is missing on this machine: load the tun module")
        kernel.mount("tmpfs", "/dev/net", "tmpfs", 0, "mode=755")
        os.close(os.open("/dev/net/tun", os.O_CREAT))
    kernel.bind_mount(f"{WORK}/dev/tun", "/dev/net/tun")


def _users():
    with open("/etc/passwd", "a", encoding="ascii") as file:
        for name, uid, gid in (("pvtest", TEST_UID, TEST_GID), ("pvother", OTHER_UID, OTHER_GID)):
            file.write(f"{name}:x:{uid}:{gid}::/run/lab:/bin/sh\n")
    with open("/etc/group", "a", encoding="ascii") as file:
        for name, gid, members in (("pvtest", TEST_GID, ""), ("pvother", OTHER_GID, ""),
                                   ("proxyvpn", GROUP_GID, "pvtest")):
            file.write(f"{name}:x:{gid}:{members}\n")
    if os.path.islink("/etc/resolv.conf"):
        os.unlink("/etc/resolv.conf")
    for attribute in ("nsswitch.conf",):
        with open(f"/etc/{attribute}", "w", encoding="ascii") as file:
            file.write("passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n")


def in_thread(function, *arguments):
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread
