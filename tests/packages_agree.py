"""The packages that the build asks for are the packages that scripts/bootstrap.sh installs.

cmake/Dependencies.cmake names a Debian package for everything it looks for; each must be in the
bootstrap script's lists, and (where apt is here) exist under that name. A configure step without a
library says which package has it.
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parent.parent


def packages_cmake_names():
    text = (TOP / "cmake/Dependencies.cmake").read_text()
    names = set(re.findall(r"^\s*need_(?:module|header|library)\(.*?([a-z0-9.+-]+)\)\s*$", text, re.M))
    for arguments in re.findall(r"list\(APPEND missing ([a-z0-9 .+-]+)\)", text):
        names.update(arguments.split())
    return names


def packages_bootstrap_installs(*modes):
    done = subprocess.run([TOP / "scripts/bootstrap.sh", "--list", "apt", *modes],
                          capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def faults_of_missing_library():
    """The configure step, on a machine whose pkg-config knows nothing."""
    with tempfile.TemporaryDirectory() as folder:
        project = f"cmake_minimum_required(VERSION 3.25)\nproject(probe C)\noption(PROXYVPN_METRICS \"\" ON)\ninclude({TOP}/cmake/Dependencies.cmake)\n"
        pathlib.Path(folder, "CMakeLists.txt").write_text(project)
        done = subprocess.run(["cmake", "-S", folder, "-B", f"{folder}/build"], capture_output=True, text=True, check=False,
                              env={**os.environ, "PKG_CONFIG_LIBDIR": folder, "PKG_CONFIG_PATH": ""})
    said = " ".join(done.stderr.split())
    wanted = ("libnl-3-dev", "libnftnl-dev", "libmnl-dev", "libcap-dev", "apt-get install libnl-3-dev", "scripts/bootstrap.sh")
    faults = [f"a configure step without libraries does not say {word}: {said}" for word in wanted if word not in said]
    if "libcli11-dev" in said:
        faults.append(f"what is there is called missing: {said}")
    return faults + ([] if done.returncode else ["a configure step without libraries succeeds"])


def main():
    wanted = packages_cmake_names()
    if len(wanted) < 10:
        return [f"only {sorted(wanted)} found in cmake/Dependencies.cmake: has its form changed?"]
    # Benchmarks are built by those who ask for them.
    missing = wanted - packages_bootstrap_installs("build", "test") - {"libbenchmark-dev"}
    faults = faults_of_missing_library()
    faults += [f"scripts/bootstrap.sh does not install {name}, which cmake/Dependencies.cmake asks for"
              for name in sorted(missing)]
    if shutil.which("apt-cache"):
        names = packages_bootstrap_installs("build", "test", "demo", "check")
        policy = subprocess.run(["apt-cache", "policy", *sorted(names)], capture_output=True, text=True, check=True)
        known = set(re.findall(r"^(\S+):\n(?:  .*\n)*?  Candidate: (?!\(none\))", policy.stdout, re.M))
        faults += [f"apt knows no package {name}" for name in sorted(names - known)]
    return faults


if __name__ == "__main__":
    faults = main()
    print("\n".join(faults) or "packages agree")
    sys.exit(1 if faults else 0)
