"""The completions of bash, zsh and fish, asked in the shells themselves, offer what --help names.

  completions_test.py PROXYVPN        exit status 77: one of the shells is not installed
  completions_test.py --self-test     shows that each kind of disagreement is found
"""
import os
import pathlib
import pty
import re
import select
import shutil
import struct
import fcntl
import subprocess
import sys
import tempfile
import termios
import time

SHELLS = ("bash", "zsh", "fish")
BACKENDS = {"auto", "nftables", "nft", "iptables-nft", "iptables-legacy"}


def output_of(*argv, **more):
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60, **more).stdout


class Bash:
    SCRIPT = r"""
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
compopt() { :; }
_proxyvpn
printf '%s\n' "${COMPREPLY[@]}"
"""

    def __init__(self, script):
        self.script = script

    def offers(self, *words):
        return set(output_of("bash", "-uc", self.SCRIPT, "bash", self.script, *words).split())


class Fish:
    def __init__(self, script):
        self.script = script

    def offers(self, *words):
        home = os.path.dirname(self.script)
        lines = output_of("fish", "--no-config", "-c", f"source {self.script}; complete -C {' '.join(words)!r}",
                          env={**os.environ, "HOME": home})
        return {line.split("\t")[0] for line in lines.splitlines() if line}


class Zsh:
    """On a terminal of its own, as its completion system works only in the line editor."""

    def __init__(self, script):
        self.script = script

    def offers(self, *words):
        pid, master = pty.fork()
        if pid == 0:
            os.environ.update(TERM="dumb", PS1="PROMPT> ", HOME=os.path.dirname(self.script))
            os.execvp("zsh", ["zsh", "-f", "-i"])
        try:
            fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 300, 200, 0, 0))
            self.say(master, f"autoload -U compinit; compinit -u -d {self.script}.dump; . {self.script}; "
                             "LISTMAX=1000; zstyle ':completion:*' insert-tab false; setopt no_beep; unsetopt auto_menu; print READY$((1+1))\n")
            # The line editor must be there: before, the terminal itself takes Ctrl-D.
            self.until(master, "READY2", "PROMPT> ")
            # Ctrl-D in a line that is not empty lists, and inserts nothing.
            self.say(master, " ".join(words) + "\x04")
            text = self.until(master, "PROMPT> ")
            return set(re.findall(r"[A-Za-z0-9_/.-]+", text.split(" ".join(words), 1)[-1]))
        finally:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            os.close(master)

    @staticmethod
    def say(master, text):
        os.write(master, text.encode())

    @staticmethod
    def until(master, *words, patience=60):
        """What comes until these words have come, one behind the other."""
        text, at, end = "", 0, time.monotonic() + patience
        for word in words:
            while word not in text[at:]:
                if time.monotonic() > end:
                    raise AssertionError(f"zsh did not say {word!r}: {text!r}")
                if select.select([master], [], [], 0.2)[0]:
                    text += os.read(master, 65536).decode(errors="replace")
            at = text.index(word, at) + len(word)
        return text


def options_in(text):
    return set(re.findall(r"^  (?:-\w, )?(--[a-z0-9-]+)", text, re.M))


def check(shell, help_of):
    """help_of(COMMAND ...) is what that command's --help prints."""
    help_text = help_of()
    options = options_in(help_text)
    commands = set(re.findall(r"^  ([a-z]+) ", re.search(r"^Commands:\n((?:  .*\n)+)", help_text, re.M)[1], re.M))
    assert len(options) > 30 and {"up", "down", "config", "completion"} <= commands, (options, commands)

    offered = shell.offers("proxyvpn", "")
    assert commands <= offered, f"commands that are not offered: {commands - offered}"
    for words in (("proxyvpn", "up", "--"), ("proxyvpn", "--"), ("proxyvpn", "up", "--mtu", "1400", "--")):
        offered = {word.split("=")[0] for word in shell.offers(*words) if word.startswith("--")} - {"--"}
        missing = options - offered - ({"--mtu"} if "--mtu" in words else set())
        assert not missing and not offered - options, f"{words}: not offered {missing}, offered too {offered - options}"
    assert BACKENDS <= shell.offers("proxyvpn", "up", "--firewall", "")
    assert BACKENDS <= shell.offers("proxyvpn", "down", "--firewall", "")
    assert {"check", "show"} <= shell.offers("proxyvpn", "config", "")
    below = {word.split("=")[0] for word in shell.offers("proxyvpn", "config", "show", "--")}
    assert {"--json", "--mtu"} <= below, below
    assert {"bash", "zsh", "fish"} <= shell.offers("proxyvpn", "completion", "")
    assert {"rate", "bytes", "application"} <= shell.offers("proxyvpn", "flows", "--sort", "")
    assert {"up", "down"} <= shell.offers("proxyvpn", "status", "--wait", "")
    assert "kill" in shell.offers("proxyvpn", "flows", "")
    users = shell.offers("proxyvpn", "up", "--exempt-user", "roo")
    assert "root" in users, users
    for command in commands - {"up", "config"}:
        wanted = options_in(help_of(command))
        offered = {word.split("=")[0] for word in shell.offers("proxyvpn", command, "--")}
        assert wanted <= offered, f"{command}: not offered {wanted - offered}"
    # A value that looks like a command is none.
    offered = {word.split("=")[0] for word in shell.offers("proxyvpn", "--tun-name", "down", "--mt")}
    assert "--mtu" in offered, offered


class Scripted:
    """Offers what a table says: a shell for --self-test. Each row: the words, and what is offered for the last."""

    def __init__(self, table):
        self.table = table

    def offers(self, *words):
        return self.table[words]


def self_test():
    options = {f"--option-{n}" for n in range(31)} | {"--mtu"}
    general = "Commands:\n" + "".join(f"  {name}  does\n" for name in ("up", "down", "config", "completion"))
    general += "\nOptions:\n" + "".join(f"  {name}  does\n" for name in sorted(options))

    def help_of(*words):
        return "  --json  does\n" if words else general

    table = {("",): {"up", "down", "config", "completion"}, ("up", "--"): options, ("--",): options,
             ("up", "--mtu", "1400", "--"): options - {"--mtu"}, ("up", "--firewall", ""): BACKENDS,
             ("down", "--firewall", ""): BACKENDS, ("config", ""): {"check", "show"},
             ("flows", "--sort", ""): {"rate", "bytes", "application"}, ("status", "--wait", ""): {"up", "down"},
             ("flows", ""): {"kill"}, ("config", "show", "--"): {"--json", "--mtu"}, ("completion", ""): set(SHELLS),
             ("up", "--exempt-user", "roo"): {"root"}, ("down", "--"): {"--json"}, ("completion", "--"): {"--json"},
             ("--tun-name", "down", "--mt"): {"--mtu"}}
    table = {("proxyvpn", *words): offered for words, offered in table.items()}
    check(Scripted(table), help_of)

    def finds(what, words, offered):
        try:
            check(Scripted({**table, words: offered}), help_of)
        except AssertionError:
            return
        raise SystemExit(f"not found: {what}")

    for words, offered in table.items():
        for word in sorted(offered):
            finds(f"{word} that is not offered for {words}", words, offered - {word})
    for words in (("proxyvpn", "up", "--"), ("proxyvpn", "--")):
        finds(f"an option too many for {words}", words, options | {"--no-such-option"})
    print("disagreements are found")
    return 0


def main():
    if sys.argv[1] == "--self-test":
        return self_test()
    binary = sys.argv[1]
    missing = [name for name in SHELLS if not shutil.which(name)]
    with tempfile.TemporaryDirectory() as directory:
        for name, shell in zip(SHELLS, (Bash, Zsh, Fish)):
            if name in missing:
                continue
            script = pathlib.Path(directory) / f"proxyvpn.{name}"
            script.write_text(output_of(binary, "completion", name))
            subprocess.run([name, "-n", script], check=True, timeout=60)
            # An explanation is what --help says, whatever the shell makes of its colons and brackets.
            plain = re.sub(r"\\(.)", r"\1", script.read_text())
            assert name == "bash" or "http://user:pass@host:port" in plain and "[::1]:PORT" in plain, name
            check(shell(str(script)), lambda *words: output_of(binary, *words, "--help"))
            print(f"{name}: the completions are whole")
    if missing:
        print(f"not installed: {', '.join(missing)}")
        return 77
    return 0


if __name__ == "__main__":
    sys.exit(main())
