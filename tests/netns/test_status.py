"""What a person and a script are told: status in every state, the open flows, metrics, the live view."""
import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time

import client
import lab as labs
import product
import scenes
import scripted_proxy
import servers
from cases import case
from client import VIA_PROXY, both, expect_way

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
UP, DOWN, SHUT, NO_TRAFFIC, TOO_LATE = 0, 3, 4, 5, 6


def checked(text, name):
    """The JSON, if it is as docs/NAME.schema.json says."""
    import jsonschema      # here, so that the list of cases needs no package
    schema = json.loads((DOCS / f"{name}.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    value = json.loads(text)
    jsonschema.validate(value, schema, cls=jsonschema.Draft7Validator)
    return value


def status(ours, word, code, **options):
    """`status` twice: for people, beginning with the word, and as JSON; both with this exit status."""
    text = ours.run("status", **options)
    assert text.stdout.split("\n")[0] == word, f"{text.stdout}{text.stderr}"
    assert text.returncode == code, f"{word}: exit {text.returncode}"
    told = ours.run("status", "--json", **options)
    assert told.returncode == code, told.stderr
    value = checked(told.stdout, "status")
    assert value["state_text"] == word, value
    return text.stdout, value


@case("status_in_every_state", timeout=90)
def test_states(lab):
    """Down, Up, Proxy lost, Crashed and Locked: the word, the fields, JSON by its schema, the exit status, --wait."""
    ours = product.Product(lab)
    _, value = status(ours, "Down", DOWN)
    assert value["pid"] is None and not value["shut"]
    proxy = scripted_proxy.ScriptedProxy(lab)
    servers.who_servers(lab)
    waiter = subprocess.Popen(ours.argv(["status", "--wait", "--timeout", "60"]), stdout=subprocess.PIPE, text=True,
                              env=ours.environment())
    assert waiter.poll() is None, "--wait did not wait"
    daemon = ours.up("--proxy-url", proxy.url(credentials="alice:secret"))
    ours.secrets.append("secret")
    assert waiter.wait(30) == 0 and waiter.stdout.read().startswith("Up\n")
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    for address in labs.WEB:
        client.udp(lab, address, 443)
    text, value = status(ours, "Up", UP)
    assert "secret" not in text and "secret" not in json.dumps(value)
    assert value["pid"] == daemon.pid and value["proxy"]["url"] == f"http://alice@{labs.PROXY[0]}:3128", value["proxy"]
    assert value["proxy"]["in_use"] == f"{labs.PROXY[0]}:3128", value["proxy"]
    assert value["flows"]["total"] >= 2 and value["bytes"]["down"] > 0, value
    assert {r["reason"]: r["packets"] for r in value["killswitch"]["refused"]}["udp"] >= 2, value["killswitch"]
    assert value["workers"]["running"] == len(ours.workers(daemon.pid)) == len(value["workers"]["list"])
    assert value["memory"]["resident"] > 1 << 20
    for field in ("proxy", "in use", "since", "tun", "killswitch", "refused", "resolvers", "flows", "failed", "bytes",
                  "rates", "workers", "memory"):
        assert re.search(rf"^{field} {{2,}}\S", text, re.M), f"{field}: {text}"
    assert ours.run("status", "--wait", "down", "--timeout", "0.3").returncode == TOO_LATE
    lost(lab, ours, proxy)
    waiter = subprocess.Popen(ours.argv(["status", "--wait", "down", "--timeout", "60"]), stdout=subprocess.PIPE,
                              text=True, env=ours.environment())
    status(ours, "Proxy lost (shut)", NO_TRAFFIC)
    assert waiter.poll() is None, "--wait down did not wait"
    daemon.kill()
    assert waiter.wait(30) == SHUT and waiter.stdout.read().startswith("Crashed (shut)\n")
    text, value = status(ours, "Crashed (shut)", SHUT)
    assert value["shut"] and "proxyvpn up" in text and "proxyvpn down" in text
    # Anybody may look at rules and routes.
    assert status(ours, "Crashed (shut)", SHUT, user="pvother")
    ours.down()
    status(ours, "Down", DOWN)
    assert ours.run("lock").returncode == 0
    assert "unlock" in status(ours, "Locked (shut)", SHUT)[0]
    assert ours.run("unlock").returncode == 0
    assert ours.run("status", "--wait", "down").returncode == 0
    for wrong in (("--wait", "sideways"), ("--timeout", "3"), ("--wait", "--timeout", "soon"), ("now",)):
        assert ours.run("status", *wrong).returncode == 2, wrong


def lost(lab, ours, proxy):
    proxy.stop()
    client.probe(lab, labs.WEB[0])
    labs.wait_until(lambda: ours.run("status").returncode == NO_TRAFFIC, 10, "the proxy counts as lost")
    text, value = status(ours, "Proxy lost (shut)", NO_TRAFFIC)
    assert value["proxy"]["trouble"] and value["shut"] and "\ntrouble " in text
    # The connection that found it out has failed too.
    assert value["flows"]["refused_proxy_lost"] >= 1 and re.search(r"^failed +\d+ while the proxy was lost", text, re.M), text


@case("status_in_moments", timeout=120)
def test_moments(lab):
    """Starting while --detach waits for the proxy, Restarting while no worker lives, Stopping while one does not end: word, exit status, JSON by its schema; --wait goes on over them."""
    let_go = threading.Event()

    def script(proxy, conn, request):
        let_go.wait(60)
        return scripted_proxy.relay(proxy, conn, request)
    proxy, ours = scripted_proxy.ScriptedProxy(lab, script), product.Product(lab)
    servers.who_servers(lab)
    lab.on_close(let_go.set)
    starter = run_beside(lab, ours, "up", "--detach", "--proxy-url", proxy.url())
    proxy.wait(1, 30)
    _, value = status(ours, "Starting", NO_TRAFFIC)
    assert value["shut"] and value["pid"] and value["proxy"]["trouble"] is None, value
    assert starter.poll() is None, "the start does not wait for the proxy"
    waiter = run_beside(lab, ours, "status", "--wait", "--timeout", "60")
    let_go.set()
    assert ended(waiter, UP).startswith("Up\n") and "proxyvpn is up" in ended(starter, 0)
    daemon = status(ours, "Up", UP)[1]["pid"]
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    # Deaths in a row: the eighth is followed by a pause of seconds.
    killed = set()
    for _ in range(8):
        labs.wait_until(lambda: set(ours.workers(daemon)) - killed, 20, "another worker runs")
        for worker in set(ours.workers(daemon)) - killed:
            killed.add(worker)
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
    labs.wait_until(lambda: ours.run("status").stdout.startswith("Restarting (shut)\n"), 5, "it is noticed that no worker lives")
    text, value = status(ours, "Restarting (shut)", NO_TRAFFIC)
    assert value["shut"] and value["workers"]["running"] == 0 < value["workers"]["wanted"], value["workers"]
    assert all(worker["pid"] is None for worker in value["workers"]["list"]), value["workers"]
    assert re.search(rf"^workers +0 of {value['workers']['wanted']}\b", text, re.M), text
    assert ours.run("status", "--wait", "--timeout", "30").returncode == UP
    for worker in ours.workers(daemon):
        os.kill(worker, signal.SIGSTOP)
    down, seen = run_beside(lab, ours, "down"), set()
    while down.poll() is None:
        asked = [run_beside(lab, ours, "status", *form) for form in ((), ("--json",))]
        plain, as_json = (process.communicate(timeout=30)[0] for process in asked)
        if plain.startswith("Stopping\n") and asked[0].returncode == NO_TRAFFIC:
            seen.add("text")
        if as_json and checked(as_json, "status")["state"] == "stopping" and asked[1].returncode == NO_TRAFFIC:
            seen.add("json")
    assert seen == {"text", "json"}, f"of Stopping only {seen or 'nothing'} was seen"
    ended(down, 0)
    _, value = status(ours, "Down", DOWN)
    assert value["pid"] is None


def run_beside(lab, ours, *arguments):
    """Any command, not waited for."""
    process = subprocess.Popen(ours.argv(list(arguments)), cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, env=ours.environment())
    lab.on_close(process.kill)
    return process


def ended(process, code):
    """What it has said on standard output, ended with this exit status."""
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, f"exit {process.returncode}: {out}{err}"
    return out


def flows(ours, *arguments, **options):
    done = ours.run("flows", "--json", *arguments, **options)
    assert done.returncode == 0, done.stderr
    return checked(done.stdout, "flows")


@case("flows_listed_and_killed")
def test_flows(lab):
    """Open flows with application, target, bytes and rate, by schema; one is reset by its id, its neighbour goes on."""
    _, ours, daemon = scenes.start(lab, user="pvtest")
    servers.serve(lab, 7100, servers.source)
    servers.serve(lab, 7101, servers.sink)
    assert ours.run("flows").stdout == "0 flows open\n"
    quiet = client.connect(lab, labs.WEB[1], 7101)
    quiet.sendall(b"x" * 1000)
    busy = client.connect(lab, labs.WEB[0], 7100)
    busy.sendall(b"1000000000\n")
    reader = threading.Thread(target=drain, args=(busy,), daemon=True)
    reader.start()
    value = flows(ours)
    assert value["open"] == 2 and value["complete"], value
    by_target = {flow["target"]: flow for flow in value["flows"]}
    up, down = by_target[f"[{labs.WEB[1]}]:7101"], by_target[f"{labs.WEB[0]}:7100"]
    assert value["flows"][0] is down, "the busiest is not the first"
    assert up["state"] == down["state"] == "open"
    assert up["bytes"] == {"up": 1000, "down": 0} and up["rates"]["down"] == 0, up
    assert down["bytes"]["down"] > 100_000 and down["rates"]["down"] > 0, down
    assert up["idle"] > 0.1 and up["age"] >= up["idle"] and down["idle"] < 5
    assert up["source"] == f"[{quiet.getsockname()[0]}]:{quiet.getsockname()[1]}"
    # An ordinary user sees whose it is, root the process too.
    assert up["application"] == {"pid": None, "name": None, "uid": 0, "user": "root"}, up["application"]
    as_root = subprocess.run(lab.host.argv([os.environ["PROXYVPN_BIN"], "flows", "--sort", "id"]), text=True, capture_output=True,
                             env=ours.environment(), check=True).stdout
    assert f"({os.getpid()})" in as_root and as_root.startswith("ID "), as_root
    for key, first in (("up", up), ("down", down), ("age", up), ("idle", up)):
        assert [flow["id"] for flow in flows(ours, "--sort", key)["flows"]][:1] == [first["id"]], key
    assert ours.run("flows", "--sort", "size").returncode == 2
    for words in (("kill",), ("kill", "7"), ("kill", "1.1", "1.2"), ("list",)):
        assert ours.run("flows", *words).returncode == 2, words
    assert ours.run("flows", "kill", "9999.1").returncode == 1
    stranger = ours.run_as_stranger("flows", "kill", up["id"])
    assert stranger.returncode == 1 and stranger.stdout == "" and "error: " in stranger.stderr, stranger
    assert {flow["id"] for flow in flows(ours)["flows"]} == {up["id"], down["id"]}, "a stranger has killed a flow"
    killed = ours.run("flows", "kill", up["id"])
    assert killed.returncode == 0 and killed.stdout == f"flow {up['id']} was reset\n", killed.stderr
    try:
        assert not quiet.recv(1), "the killed flow goes on"
        raise AssertionError("the killed flow ended without a reset")
    except ConnectionResetError:
        pass
    after = flows(ours)
    assert [flow["id"] for flow in after["flows"]] == [down["id"]]
    assert after["flows"][0]["bytes"]["down"] > down["bytes"]["down"]
    busy.close()
    scenes.finish(ours, daemon)
    nobody = ours.run("flows")
    assert nobody.returncode == 1 and nobody.stdout == "" and "no proxyvpn is up" in nobody.stderr, nobody


# A third application: a shell that sends a few bytes and waits.
QUIET_SHELL = 'exec 3<>/dev/tcp/$0/$1; head -c 500 /dev/zero >&3; exec 4<&0; read -u 4'


@case("flows_sorted")
def test_sorted(lab):
    """Each --sort KEY puts three flows of two applications into its order, as a table and as JSON; the table names process, target and rate."""
    _, ours, daemon = scenes.start(lab, "--workers", "1")
    servers.serve(lab, 7100, servers.source)
    sink = servers.serve(lab, 7101, servers.sink)
    shell = subprocess.Popen(lab.host.argv(["bash", "-c", QUIET_SHELL, labs.WEB[0], "7101"]), stdin=subprocess.PIPE)
    lab.on_close(shell.kill)
    sink.wait(1)
    time.sleep(0.5)
    sender = client.connect(lab, labs.WEB[1], 7101)
    sender.sendall(b"x" * 100_000)
    time.sleep(0.5)
    reader = client.connect(lab, labs.WEB[0], 7100)
    reader.sendall(b"1000000000\n")
    threading.Thread(target=drain, args=(reader,), daemon=True).start()
    ports = {f"{labs.WEB[0]}:7101": "shell", f"[{labs.WEB[1]}]:7101": "sender", f"{labs.WEB[0]}:7100": "reader"}
    labs.wait_until(lambda: all(flow["idle"] > 1 for flow in flows(ours)["flows"] if ports[flow["target"]] != "reader"), 20, "two are quiet")
    names = {"shell": f"bash ({shell.pid})", "sender": f"python3 ({os.getpid()})", "reader": f"python3 ({os.getpid()})"}
    orders = {"rate": "reader shell sender", "bytes": "reader sender shell", "up": "sender shell reader", "down": "reader shell sender",
              "age": "shell sender reader", "idle": "shell sender reader", "target": "reader shell sender",
              "application": "shell sender reader", "id": "shell sender reader"}
    for key, order in orders.items():
        value = flows(ours, "--sort", key)
        assert [ports[flow["target"]] for flow in value["flows"]] == order.split(), f"{key}: {value['flows']}"
        table = ours.run("flows", "--sort", key).stdout.splitlines()
        assert re.split(r"  +", table[0]) == ["ID", "APPLICATION", "TARGET", "STATE", "AGE", "IDLE", "UP", "DOWN", "RATE UP", "RATE DOWN"], table
        assert table[-1] == "3 flows open" and len(table) == 5, table
        rows = [re.split(r"  +", row) for row in table[1:4]]
        assert [ports[row[2]] for row in rows] == order.split(), f"{key}: {table}"
        assert all(row[1] == names[ports[row[2]]] and row[3] == "open" for row in rows), table
        assert {ports[row[2]]: row[9] for row in rows}["shell"] == "0 B/s" and re.search(r"[KM]iB/s$", table[1 + order.split().index("reader")]), table
    assert flows(ours)["flows"] and [ports[flow["target"]] for flow in flows(ours)["flows"]] == orders["rate"].split(), "rate is not the default"
    shell.communicate(b"\n", timeout=20)
    for sock in (sender, reader):
        sock.close()
    scenes.finish(ours, daemon)


def drain(sock):
    try:
        while sock.recv(1 << 16):
            time.sleep(0.01)
    except OSError:
        pass


def scrape(lab, request=b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", port=9095):
    """(status, body) of one request to the daemon's metrics."""
    with lab.host.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(20)
        sock.connect(("127.0.0.1", port))
        sock.sendall(request)
        answer = b""
        while data := sock.recv(65536):
            answer += data
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode()


def families(text):
    """{name: {labels: value}}, by Prometheus' own parser."""
    from prometheus_client.parser import text_string_to_metric_families
    return {family.name: {tuple(sorted(sample.labels.items())): sample.value for sample in family.samples}
            for family in text_string_to_metric_families(text)}


@case("metrics_scraped", timeout=90)
def test_metrics(lab):
    """--metrics answers in Prometheus' form (its own parser), equal to `proxyvpn metrics` and status; garbage and crowds are bounded; a dead process is followed."""
    _, ours, daemon = scenes.start(lab, "--metrics", "9095", user="pvtest")
    expect_way(both(lab, labs.WEB), VIA_PROXY)
    for address in labs.WEB:
        client.udp(lab, address, 443)
    time.sleep(0.3)                       # an answer is good for all who ask within 200 ms
    status_code, text = scrape(lab)
    assert status_code == 200
    page, told = families(text), checked(ours.run("status", "--json").stdout, "status")
    assert page["proxyvpn_up"] == {(): 1.0} and page["proxyvpn_shut"] == {(): 0.0}
    assert page["proxyvpn_state"][(("state", "up"),)] == 1.0 and sum(page["proxyvpn_state"].values()) == 1.0
    assert page["proxyvpn_flows"][()] == told["flows"]["total"] >= 2
    assert page["proxyvpn_bytes"][(("direction", "down"),)] == told["bytes"]["down"] > 0
    assert page["proxyvpn_killswitch_refused_packets"][(("reason", "udp"),)] >= 2
    assert page["proxyvpn_memory_resident_bytes"][()] > 1 << 20
    assert families(ours.run("metrics").stdout).keys() == page.keys()
    pids = [pid for pid, parent in ours.pids().items() if parent == daemon.pid and comm(pid) == "proxyvpn-metric"]
    assert len(pids) == 1, ours.pids()
    confined = status_file(pids[0])
    for name in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
        assert int(confined[name], 16) == 0, name
    assert confined["NoNewPrivs"] == "1" and (product.is_sanitized() or confined["Seccomp"] == "2"), confined
    for request, code in ((b"GET /other HTTP/1.1\r\n\r\n", 404), (b"POST /metrics HTTP/1.1\r\n\r\n", 405), (b"\x16\x03\x01\r\n\r\n", 400),
                          (b"GET /metrics HTTP/1.1\r\nA: " + b"a" * 9000, 431)):
        assert scrape(lab, request)[0] == code, request[:40]
    crowd = []
    for _ in range(40):                   # more than it takes at once, none of which asks
        sock = lab.host.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.connect(("127.0.0.1", 9095))
        crowd.append(sock)
    held = [link for link in product.descriptors(pids[0]) if link.startswith("socket:")]
    assert 1 <= len(held) < 30, f"{len(held)} sockets are held for a crowd of {len(crowd)}"
    labs.wait_until(lambda: answers(lab), 20, "the silent ones are dropped and metrics are answered again", step=0.5)
    for sock in crowd:
        sock.close()
    os.kill(pids[0], signal.SIGKILL)
    daemon.wait_log("for --metrics has ended")
    labs.wait_until(lambda: answers(lab), 20, "another process answers", step=0.5)
    now = [pid for pid, parent in ours.pids().items() if parent == daemon.pid and comm(pid) == "proxyvpn-metric"]
    assert len(now) == 1 and now != pids, f"{now} after {pids}"
    scenes.finish(ours, daemon)
    assert families(ours.run("metrics").stdout)["proxyvpn_up"] == {(): 0.0}
    taken = lab.host.socket(socket.AF_INET, socket.SOCK_STREAM)
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    taken.bind(("127.0.0.1", 9095))
    taken.listen(1)
    refused = ours.run("up", "--proxy-url", "http://203.0.113.10:3128", "--metrics", "9095")
    assert refused.returncode == 1 and "127.0.0.1:9095" in refused.stderr, refused.stderr
    taken.close()
    for wrong in ("x", "0", "70000", "127.0.0.1", "proxy.test:80"):
        assert ours.run("up", "--proxy-url", "http://203.0.113.10:3128", "--metrics", wrong).returncode == 2, wrong
    dry = ours.run("up", "--proxy-url", "http://203.0.113.10:3128", "--metrics", "0.0.0.0:9095", "--dry-run")
    assert dry.returncode == 0 and "--metrics" in dry.stderr and "warning" in dry.stderr, dry.stderr


def answers(lab):
    try:
        return scrape(lab)[0] == 200
    except (OSError, IndexError):
        return False


def comm(pid):
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""


def status_file(pid):
    with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
