"""What many tests begin with."""
import os

import lab as labs
import product
import scripted_proxy
import servers

MEGABYTES = int(os.environ.get("PROXYVPN_TEST_MB", "20"))
NAMES = {"no-such-host.invalid": (), "web.test": labs.WEB, "ssh.test": labs.SSH, "proxy.test": labs.PROXY}


def start(lab, *arguments, script=None, who=True, user=None, six=False, credentials="", **options):
    """Scripted proxy, whoami servers, allowed DNS, product up: (proxy, product, daemon)."""
    proxy = scripted_proxy.ScriptedProxy(lab, script)
    if who:
        servers.who_servers(lab)
        servers.Dns(lab, names=NAMES)
    ours = product.Product(lab, user=user)
    daemon = ours.up("--proxy-url", proxy.url(six=six, credentials=credentials), *arguments, **options)
    return proxy, ours, daemon


def finish(ours, daemon):
    """down as a person does it: the daemon ends with 0 and no process is left."""
    ours.down()
    assert daemon.wait_exit() == 0, f"up ended with {daemon.process.returncode} after down"
    ours.wait_gone()
