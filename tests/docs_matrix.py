"""docs/security.md names tests that exist, and every row of the leak matrix that is tested.

  docs_matrix.py               compares it with `run.py --list` and the GoogleTest cases in src/
  docs_matrix.py --self-test   shows that each kind of disagreement is found
"""
import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent


def netns_tests():
    done = subprocess.run([sys.executable, TOP / "tests/netns/run.py", "--list"], capture_output=True, text=True, check=True)
    return {line.split()[0] for line in done.stdout.splitlines() if line.strip()}


def unit_tests():
    """"Suite.Name" of every TEST, TEST_F and TEST_P."""
    found = set()
    for path in (TOP / "src").rglob("*_test.cc"):
        found.update(f"{suite}.{name}" for suite, name in
                     re.findall(r"^TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\s*\)", path.read_text(), re.M))
    return found


def matrix_rows(text):
    """{row number: its line} of the table under the heading "The matrix"."""
    section = text.partition("\n## The matrix\n")[2].partition("\n## ")[0]
    return {int(line.split("|")[1]): line for line in section.splitlines() if re.match(r"\| \d+ \|", line)}


def faults_of(text, netns, units):
    named = set(re.findall(r"\bnetns\.([a-z0-9_]+)", text))
    suites = {unit.split(".")[0] for unit in units}
    faults = [f"netns.{name}: there is no such test" for name in sorted(named - netns)]
    for suite, name in sorted(set(re.findall(r"\b([A-Z]\w+)\.([A-Z]\w+)\b", text))):
        if f"{suite}.{name}" not in units:
            faults.append(f"{suite}.{name}: there is no such unit test" + ("" if suite in suites else f", nor a suite {suite}"))
    rows = matrix_rows(text)
    if len(rows) < 40:
        faults.append(f"only {len(rows)} rows found in the matrix: has its form changed?")
    for name in sorted(n for n in netns if n.startswith("row_")):
        number = int(name.split("_")[1])
        if f"netns.{name}" not in rows.get(number, ""):
            faults.append(f"netns.{name}: is not in row {number} of the matrix")
    for number, line in rows.items():
        if "netns." not in line and "not automated" not in line:
            faults.append(f"row {number} has no test and does not say so")
    return faults


def self_test():
    netns, units = {f"row_{n:02}_x" for n in range(50)} | {"other"}, {"Suite.Name"}
    text = "(netns.other, Suite.Name.)\n## The matrix\n" + "".join(f"| {n} | c | e | netns.row_{n:02}_x | |\n" for n in range(50))
    assert faults_of(text, netns, units) == [], faults_of(text, netns, units)
    for what, changed in (("a netns test that is gone", text.replace("netns.other", "netns.another")),
                          ("a unit test that is gone", text.replace("Suite.Name", "Suite.Gone")),
                          ("a row without its test", text.replace("netns.row_07_x", "netns.row_08_x")),
                          ("a row that says nothing", text + "| 60 | c | e | | |\n"),
                          ("a matrix without rows", text.replace("\n| ", "\n: "))):
        assert faults_of(changed, netns, units), f"{what} is not found"
    assert faults_of(text + "| 60 | c | e | not automated | |\n", netns, units) == []
    return []


def main():
    if "--self-test" in sys.argv[1:]:
        faults = self_test()
    else:
        faults = faults_of((TOP / "docs/security.md").read_text(), netns_tests(), unit_tests())
    print("\n".join(faults) or "docs/security.md and the tests agree")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
