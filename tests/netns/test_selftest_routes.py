"""proxyvpn-selftest where rules and routes cannot be read: exit code 17."""
import lab as labs
import scenes
import servers
import without_netlink
from cases import case
from test_selftest import OK, RCODE, binary

NO_ROUTES = 17


def ask(lab, *arguments, exit_code):
    """What it printed, both streams."""
    argv = [*without_netlink.prefix(), binary(), "--server", labs.DNS[0], "--timeout-ms", "8000", *arguments]
    done = labs.kernel.run(lab.host.argv(argv), check=False, timeout=60)
    text = done.stdout + done.stderr
    assert done.returncode == exit_code, f"{arguments}: exit {done.returncode}, not {exit_code}: {text}"
    return text


@case("selftest_without_routes", timeout=60)
def test_without_routes(lab):
    """The answer is told all the same; a question that fails has the word; --no-ip reads no routes."""
    servers.Dns(lab, names=scenes.NAMES)
    text = ask(lab, "--name", "web.test", exit_code=NO_ROUTES)
    assert labs.WEB[0] in text and "netlink" in text.lower(), text
    ask(lab, "--name", "no-such-host.invalid", exit_code=RCODE)
    ask(lab, "--name", "web.test", "--no-ip", exit_code=OK)
