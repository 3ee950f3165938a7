"""pkg/container: the recipe's command line, health check and capabilities, run without an engine."""
import json
import pathlib
import re
import signal

import lab as labs
import product
import scenes
import scripted_proxy
import servers
from cases import case
from client import DIRECT, VIA_PROXY, both, expect_refused, expect_way
from lab import wait_until

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "pkg/container"


def instruction(name):
    """The JSON list behind an instruction of the final stage."""
    text = (FOLDER / "Containerfile").read_text(encoding="utf-8").rpartition("\nFROM ")[2]
    return json.loads(re.search(rf"^{name}[^\[\n]*(\[.*\])$", text, re.M)[1])


def capabilities():
    """Those of compose.yaml; the README's table and its command name the same."""
    text = (FOLDER / "compose.yaml").read_text(encoding="utf-8")
    assert "cap_drop: [ALL]" in text
    found = re.search(r"cap_add: \[(.*)\]", text)[1].lower().split(", ")
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert re.search(r"--cap-add (\S+)", readme)[1].split(",") == found, "README and compose.yaml add different capabilities"
    table = {word.lower() for line in readme.splitlines() if line.startswith("| `") for word in re.findall(r"`([A-Z_]+)`", line)}
    assert table == set(found), f"the table explains {sorted(table)}, compose.yaml adds {sorted(found)}"
    return found


@case("container_sidecar", timeout=60)
def test_container_sidecar(lab):
    """Root with the recipe's capabilities alone: up, healthy; SIGTERM and a crash leave it shut until unlock."""
    allowed = capabilities()
    entry, command, health = instruction("ENTRYPOINT"), instruction("CMD"), instruction("HEALTHCHECK")
    assert entry == ["/usr/bin/proxyvpn"] and health[0] == entry[0], (entry, health)
    proxy = scripted_proxy.ScriptedProxy(lab)
    servers.who_servers(lab)
    ours = product.Product(lab)
    prefix = ["setpriv", "--bounding-set=-all," + ",".join(f"+{name}" for name in allowed), "--inh-caps=-all"]
    assert ours.run(*health[1:], prefix=prefix).returncode == 3, "healthy before it is up"
    daemon = ours.up(*command[1:], command=command[0], prefix=prefix, env={"PROXYVPN_PROXY_URL": proxy.url()})
    with lab.capture(proxies=proxy.endpoints, dns=()):
        assert ours.run(*health[1:], prefix=prefix).returncode == 0, "not healthy while it is up"
        expect_way(both(lab, labs.WEB), VIA_PROXY)     # another process in the same namespace
        assert daemon.stop(signal.SIGTERM) == 0
        wait_until(lambda: not ours.pids(), 15, "no process is left")
        expect_refused(both(lab, labs.WEB), what="after SIGTERM")
        assert "tun0" not in lab.host.run(["ip", "-o", "link"]).stdout, "more than the killswitch stays"
        assert ours.run(*health[1:], prefix=prefix).returncode == 4, "not told that it is shut"
        # Started again in the same namespace: takes over without opening.
        daemon = ours.up(*command[1:], command=command[0], prefix=prefix, env={"PROXYVPN_PROXY_URL": proxy.url()})
        expect_way(both(lab, labs.WEB), VIA_PROXY)
        daemon.kill()
        ours.wait_gone()
        expect_refused(both(lab, labs.WEB), what="after a crash")
        daemon = ours.up(*command[1:], command=command[0], prefix=prefix, env={"PROXYVPN_PROXY_URL": proxy.url()})
        expect_way(both(lab, labs.WEB), VIA_PROXY)
        scenes.finish(ours, daemon)
        expect_refused(both(lab, labs.WEB), what="after down")
    # What was shut is the killswitch's doing: without it the way is open.
    assert ours.run("unlock", prefix=prefix).returncode == 0
    expect_way(both(lab, labs.WEB), DIRECT)
