"""--help, man pages and README name the same options, with the same arguments and defaults.

  docs_agree.py --proxyvpn PATH --selftest PATH     compares them for these programs
  docs_agree.py --self-test                         shows that each kind of disagreement is found
"""
import argparse
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
HEADINGS = ["Proxy Configuration", "Network Configuration", "General"]


def option(name, argument="", default=""):
    return name, (argument or "", (default or "").rstrip("."))


def options_of_help(text):
    """`  --tun-name <NAME>   text [default: tun0]`; the text may go on in the lines below."""
    found, entries = {}, re.split(r"^  (?=-)", text, flags=re.M)[1:]
    for entry in entries:
        head = re.match(r"(?:-\w,\s*)?(--[a-z0-9-]+)(?:,-\w)?(?: <([A-Z]+)>)?", entry)
        default = re.search(r"\[default:\s+(\S+?)\]", entry)
        if head:
            name, value = option(head[1], head[2], default and default[1])
            found[name] = value
    return found


def options_of_man_page(text):
    """`.It Fl -tun-name Ar NAME` ... `Default: tun0.` in the section OPTIONS."""
    section = re.search(r"^\.Sh OPTIONS\n(.*?)^\.Sh ", text, re.M | re.S)[1]
    found = {}
    for entry in re.split(r"^\.It ", section, flags=re.M)[1:]:
        head = re.match(r"(?:Fl \w , -|Fl -)([a-z0-9-]+)(?: Ar (\S+))?\n", entry)
        default = re.search(r"^Default: ([^\s,]+?)[.,]?(?:\s|$)", entry, re.M) or re.search(r"Default: ([^\s,]+?)[.,]?(?:\s|$)", entry)
        name, value = option("--" + head[1].removeprefix("-"), head[2], default and default[1])
        found[name] = value
    return found


def options_of_readme(text):
    """| `--tun-name NAME` | tun0 | ... | rows of the tables."""
    found = {}
    for name, argument, default in re.findall(r"^\| `(--[a-z0-9-]+)(?: ([A-Z]+))?` \|([^|]*)\|", text, re.M):
        key, value = option(name, argument, default.strip("` "))
        found[key] = value
    return found


COMMAND_LINE_ONLY = ("--config", "--help", "--version")


def keys_of_file_page(text):
    """`.It Ic mtu Pq number` ... `Default: 1500.` in the section KEYS; a switch has no argument."""
    section = re.search(r"^\.Sh KEYS\n(.*?)^\.Sh ", text, re.M | re.S)[1]
    found = {}
    for entry in re.split(r"^\.It ", section, flags=re.M)[1:]:
        head = re.match(r"Ic ([a-z0-9-]+) Pq (text|number|list|switch)\n", entry)
        default = re.search(r"^Default: (\S+?)\.$", entry, re.M)
        if head:
            found["--" + head[1]] = (head[2] == "switch", default[1] if default else "")
    return found


def faults_of_file_page(help_text, page):
    of_help = {name: (argument == "", default) for name, (argument, default) in options_of_help(help_text).items()
               if name not in COMMAND_LINE_ONLY}
    of_page, faults = keys_of_file_page(page), []
    for name in sorted(of_help.keys() ^ of_page.keys()):
        faults.append(f"{name}: not in both of --help and docs/proxyvpn.toml.5")
    for name in sorted(of_help.keys() & of_page.keys()):
        if of_help[name] != of_page[name]:
            faults.append(f"{name}: (is a switch, default) is {of_help[name]} in --help, {of_page[name]} in docs/proxyvpn.toml.5")
    return faults


def commands_of_help(text):
    """`  down   Stop, ...`: the list behind "Commands:"."""
    section = re.search(r"^Commands:\n((?:  .*\n)+)", text, re.M)
    return set(re.findall(r"^  ([a-z]+) ", section[1], re.M)) if section else set()


def commands_of_man_page(text):
    section = re.search(r"^\.Sh COMMANDS\n(.*?)^\.Sh ", text, re.M | re.S)[1]
    return set(re.findall(r"^\.It Cm ([a-z]+)", section, re.M))


def compare(name, first, second_name, second):
    faults = []
    for missing in sorted(first.keys() - second.keys()):
        faults.append(f"{missing}: in {name}, not in {second_name}")
    for missing in sorted(second.keys() - first.keys()):
        faults.append(f"{missing}: in {second_name}, not in {name}")
    for both in sorted(first.keys() & second.keys()):
        for what, one, other in zip(("argument", "default"), first[both], second[both]):
            if one != other:
                faults.append(f"{both}: {what} is '{one}' in {name}, '{other}' in {second_name}")
    return faults


def faults_of(help_text, man_text, readme_text):
    of_help, of_man, of_readme = options_of_help(help_text), options_of_man_page(man_text), options_of_readme(readme_text)
    faults = [f"--help: no heading '{heading}'" for heading in HEADINGS if heading not in help_text]
    if len(of_help) < 20:
        faults.append(f"only {sorted(of_help)} found in --help: has its form changed?")
    faults += compare("--help", of_help, "docs/proxyvpn.8", of_man)
    # The README's tables leave out what every program has.
    common = {name: value for name, value in of_help.items() if name not in ("--help", "--version")}
    faults += compare("--help", common, "README.md", of_readme)
    commands, of_page = commands_of_help(help_text), commands_of_man_page(man_text)
    if not commands or commands != of_page:
        faults.append(f"commands: {sorted(commands)} in --help, {sorted(of_page)} in docs/proxyvpn.8")
    faults += [f"command {name}: not in README.md" for name in sorted(commands)
               if f"proxyvpn {name}" not in readme_text and f"`{name}`" not in readme_text]
    return faults


def faults_of_selftest(help_text, man_text):
    """The second program prints its help in its library's form: names only."""
    of_help = set(re.findall(r"^\s+(?:-\w,)?(--[a-z-]+)", help_text, re.M))
    of_man = {"--" + name for name in re.findall(r"^\.It Fl (?:\w , )?-([a-z-]+)", man_text, re.M)}
    if len(of_help) < 5:
        return [f"proxyvpn-selftest --help: only {sorted(of_help)} found"]
    return [f"proxyvpn-selftest: {name} is not in both of --help and man page" for name in sorted(of_help ^ of_man)]


def help_of(binary):
    return subprocess.run([binary, "--help"], capture_output=True, text=True, check=True).stdout


def read_all(binary):
    return help_of(binary), (TOP / "docs/proxyvpn.8").read_text(), (TOP / "README.md").read_text()


def self_test():
    options = {f"--option-{n}": ("ARG", str(n)) for n in range(30)}
    help_text = "Usage: proxyvpn [up] [OPTIONS]\n\nCommands:\n  up    Start\n  down    Stop\n\n" + "".join(f"{heading}:\n" for heading in HEADINGS)
    help_text += "".join(f"  {k} <{a}>    what it\n            does [default: {d}]\n" for k, (a, d) in options.items())
    help_text += "  -h, --help    Print\n  --version    Print\n\nEach has a --help\n"
    man = ".Sh COMMANDS\n.It Cm up\n.It Cm down\n.Sh OPTIONS\n" + "".join(
        f".It Fl -{k[2:]} Ar {a}\nWhat it does.\nDefault: {d}.\n" for k, (a, d) in options.items()) + ".It Fl h , -help\nx\n.It Fl -version\nx\n.Sh END\n"
    readme = "proxyvpn up\nproxyvpn down\n" + "".join(f"| `{k} {a}` | `{d}` | does |\n" for k, (a, d) in options.items())
    assert faults_of(help_text, man, readme) == [], faults_of(help_text, man, readme)
    for what, old, new in (("an option", "--option-7 ", "--option-x "), ("an argument", "--option-7 <ARG>", "--option-7 <NAME>"),
                           ("a default", "[default: 7]", "[default: 8]"), ("a command", "  down  ", "  doom  "),
                           ("a heading", "General:", "Generic:")):
        assert old in help_text and faults_of(help_text.replace(old, new), man, readme), f"{what} that differs is not found"
    assert faults_of(help_text, man, readme.replace("`7`", "`8`")), "a default of the README that differs is not found"
    assert faults_of(help_text, man.replace("Default: 7.", "Default: 8."), readme), "a default of the man page that differs is not found"
    page = ".Sh KEYS\n" + "".join(f".It Ic {k[2:]} Pq text\nDoes.\nDefault: {d}.\n" for k, (a, d) in options.items()) + ".Sh END\n"
    assert faults_of_file_page(help_text, page) == [], faults_of_file_page(help_text, page)
    for what, old, new in (("a key", "Ic option-7 ", "Ic option-x "), ("a default", "Default: 7.", "Default: 8."),
                           ("a kind", "Ic option-7 Pq text", "Ic option-7 Pq switch")):
        assert old in page and faults_of_file_page(help_text, page.replace(old, new)), f"{what} of the file's page that differs is not found"
    return []


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--proxyvpn")
    parser.add_argument("--selftest")
    parser.add_argument("--self-test", action="store_true")
    arguments = parser.parse_args()
    if arguments.self_test:
        faults = self_test()
    else:
        faults = faults_of(*read_all(arguments.proxyvpn))
        faults += faults_of_file_page(help_of(arguments.proxyvpn), (TOP / "docs/proxyvpn.toml.5").read_text())
        faults += faults_of_selftest(help_of(arguments.selftest), (TOP / "docs/proxyvpn-selftest.8").read_text())
    print("\n".join(faults) or "documentation agrees")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
