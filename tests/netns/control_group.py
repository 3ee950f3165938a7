"""Control groups for a test: frozen or short of memory. Mounted in the sandbox's own mount namespace;
the groups themselves are the kernel's, so they are removed at the end."""
import os
import time

import kernel
from cases import Skip
from lab import wait_until


def _read(path):
    with open(path, encoding="ascii") as file:
        return file.read()


def _write(path, text):
    with open(path, "w", encoding="ascii") as file:
        file.write(str(text))


class Group:
    """A control group of version 2 where the kernel has what is needed there, else of version 1."""

    def __init__(self, lab, need):
        self.need = need                   # "freezer" or "memory"
        self._mount(lab)
        self.path = f"{self.root}/proxyvpn-test-{os.getpid()}-{time.monotonic_ns()}"
        try:
            os.mkdir(self.path)
        except OSError as error:
            raise Skip(f"no control group can be made here: {error}") from None
        lab.on_close(self.remove)

    def _mount(self, lab):
        self.root, self.version = lab.path("cgroup-" + self.need, "x")[:-2], 2
        try:
            kernel.mount("none", self.root, "cgroup2")
            if self.need == "freezer":
                return                     # part of version 2 itself
            if self.need in _read(f"{self.root}/cgroup.controllers").split():
                _write(f"{self.root}/cgroup.subtree_control", "+" + self.need)
                return
        except OSError:
            pass
        self.version = 1
        try:
            kernel.mount("none", self.root, "cgroup", 0, self.need)
        except OSError as error:
            raise Skip(f"no {self.need} control group here: {error}") from None

    def add(self, pids):
        for pid in pids:
            try:
                _write(f"{self.path}/cgroup.procs", pid)
            except ProcessLookupError:
                pass

    def freeze(self, on):
        """Returns when all of them stand still, or run again."""
        if self.version == 2:
            _write(f"{self.path}/cgroup.freeze", int(on))
            wait_until(lambda: f"frozen {int(on)}" in _read(f"{self.path}/cgroup.events"), 30, "the freezer")
        else:
            state = "FROZEN" if on else "THAWED"
            _write(f"{self.path}/freezer.state", state)
            wait_until(lambda: _read(f"{self.path}/freezer.state").strip() == state, 30, "the freezer")

    def limit_memory(self, size):
        """Bytes; None takes the limit away."""
        name, no_limit = ("memory.max", "max") if self.version == 2 else ("memory.limit_in_bytes", -1)
        _write(f"{self.path}/{name}", no_limit if size is None else size)

    def memory(self):
        return int(_read(f"{self.path}/{'memory.current' if self.version == 2 else 'memory.usage_in_bytes'}"))

    def out_of_memory(self):
        """How many processes the kernel has killed for it."""
        lines = _read(f"{self.path}/{'memory.events' if self.version == 2 else 'memory.oom_control'}").splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))

    def remove(self):
        """Its processes have ended, or go back to where they may live on."""
        if not os.path.isdir(self.path):
            return
        if self.need == "freezer":
            self.freeze(False)
        for pid in _read(f"{self.path}/cgroup.procs").split():
            try:
                _write(f"{self.root}/cgroup.procs", pid)
            except OSError:
                pass
        wait_until(self._try_remove, 20, f"the control group {self.path} can be removed")

    def _try_remove(self):
        try:
            os.rmdir(self.path)
            return True
        except OSError:
            return False
