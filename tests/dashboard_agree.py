"""Grafana's dashboard asks only for metrics that proxyvpn tells, and has the fields that Grafana needs.

  dashboard_agree.py               compares pkg/grafana-dashboard.json with src/app/metrics_text.cc
  dashboard_agree.py --self-test   shows that each kind of disagreement is found
"""
import copy
import json
import pathlib
import re
import sys

TOP = pathlib.Path(__file__).resolve().parent.parent
# Of the job that asks, not of proxyvpn.
LABELS_OF_PROMETHEUS = {"instance", "job", "__name__"}
WIDTH = 24  # of Grafana's grid


def metrics_of(source):
    """What the program tells: {name: (kind, names of labels)}."""
    metrics, name = {}, None
    for kind, opened, call in re.findall(r'page\.(?:(gauge|counter)\("(\w+)"|sample\(([^;]*)\);)', source):
        if opened:
            name = f"proxyvpn_{opened}"
            metrics[name] = (kind, set())
        else:
            metrics[name][1].update(re.findall(r', "(\w+)", ', call))
    return metrics


def faults_of_expression(where, expression, legend, metrics):
    names = re.findall(r"\bproxyvpn_\w+", expression)
    faults = [f"{where}: {name} is no metric of proxyvpn" for name in names if name not in metrics]
    if not names:
        faults.append(f"{where}: {expression!r} asks for no metric of proxyvpn")
    known = set().union(LABELS_OF_PROMETHEUS, *(metrics[name][1] for name in names if name in metrics))
    asked = set(re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)", expression)) | set(re.findall(r"{{\s*(\w+)\s*}}", legend))
    faults += [f"{where}: {label!r} is no label of {', '.join(names)}" for label in sorted(asked - known)]
    for name in names:
        rated = re.search(rf"\brate\(\s*{name}\b", expression) is not None
        if name in metrics and rated != (metrics[name][0] == "counter"):
            faults.append(f"{where}: {name} is a {metrics[name][0]}: rate() is for counters, and counters need it")
    if any(expression.count(one) != expression.count(other) for one, other in ("()", "{}", "[]")):
        faults.append(f"{where}: the brackets of {expression!r} do not match")
    return faults


def faults_of_panel(panel, metrics):
    where = f"panel {panel.get('title')!r}"
    faults = [f"{where}: no {field!r}" for field in ("id", "type", "title", "gridPos", "datasource", "targets")
              if not panel.get(field)]
    place = panel.get("gridPos") or {}
    if set(place) != {"x", "y", "w", "h"} or place["x"] + place["w"] > WIDTH:
        faults.append(f"{where}: gridPos {place} is no place in the grid")
    targets = panel.get("targets") or []
    letters = [target.get("refId") for target in targets]
    if not all(letters) or len(set(letters)) != len(letters):
        faults.append(f"{where}: refId {letters} do not tell the targets apart")
    for target in targets:
        faults += faults_of_expression(where, target.get("expr", ""), target.get("legendFormat", ""), metrics)
    return faults


def sources_in(value):
    """The uid of each data source that is named, however deep."""
    if isinstance(value, dict):
        source = value.get("datasource")
        if isinstance(source, dict):
            yield source.get("uid", "")
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from sources_in(one)


def faults_of(dashboard, metrics):
    if len(metrics) < 10:
        return [f"src/app/metrics_text.cc: only {sorted(metrics)} found"]
    faults = [f"no {field!r}" for field in ("title", "uid", "schemaVersion", "time", "templating", "panels")
              if not dashboard.get(field)]
    # Grafana asks for these when the file is imported; a source that is not among them is not found.
    inputs = {"${" + one["name"] + "}" for one in dashboard.get("__inputs", [])}
    faults += [f"data source {uid!r} is not in __inputs" for uid in sorted(set(sources_in(dashboard)) - inputs)]
    panels = dashboard.get("panels", [])
    numbers = [panel.get("id") for panel in panels]
    if len(set(numbers)) != len(numbers):
        faults.append(f"the ids of the panels {numbers} are not all different")
    for panel in panels:
        faults += faults_of_panel(panel, metrics)
    for variable in dashboard.get("templating", {}).get("list", []):
        query = variable.get("query", {}).get("query", "")
        faults += [f"variable {variable.get('name')!r}: {name} is no metric of proxyvpn"
                   for name in re.findall(r"\bproxyvpn_\w+", query) if name not in metrics]
    return faults


def self_test(dashboard, metrics):
    def finds(what, change):
        changed = copy.deepcopy(dashboard)
        change(changed)
        assert faults_of(changed, metrics), f"not found: {what}"

    def target_of(changed):
        return changed["panels"][0]["targets"][0]

    finds("a metric that is not told", lambda d: target_of(d).update(expr="proxyvpn_no_such_metric"))
    finds("a gauge with rate()", lambda d: target_of(d).update(expr="rate(proxyvpn_up[1m])"))
    finds("a counter without rate()", lambda d: target_of(d).update(expr="proxyvpn_flows_total"))
    finds("a label that is not told", lambda d: target_of(d).update(expr='proxyvpn_up{nobody="1"}'))
    finds("a legend that is not told", lambda d: target_of(d).update(legendFormat="{{nobody}}"))
    finds("brackets that do not match", lambda d: target_of(d).update(expr="(proxyvpn_up"))
    finds("a panel without a place", lambda d: d["panels"][0].pop("gridPos"))
    finds("two panels of one id", lambda d: d["panels"][0].update(id=d["panels"][1]["id"]))
    finds("a target without refId", lambda d: target_of(d).pop("refId"))
    finds("a data source that is not asked for", lambda d: d.update(__inputs=[]))
    finds("no schemaVersion", lambda d: d.pop("schemaVersion"))
    assert faults_of(dashboard, {}), "not found: a source without metrics"


def main():
    dashboard = json.loads((TOP / "pkg/grafana-dashboard.json").read_text())
    metrics = metrics_of((TOP / "src/app/metrics_text.cc").read_text())
    faults = faults_of(dashboard, metrics)
    if not faults and "--self-test" in sys.argv[1:]:
        self_test(dashboard, metrics)
    print("\n".join(faults) or "the dashboard agrees")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
