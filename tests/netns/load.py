"""Connection attempts of applications that never stop, for tests of moments."""
import collections
import socket
import threading
import time

import client
import lab as labs


class Load:
    """`threads` applications that connect over and over, IPv4 and IPv6 in turn; also UDP when asked.

    results counts client.Result kinds and errors. The wire capture is the oracle; this one makes
    the packets and says what the applications saw.
    """

    def __init__(self, lab, threads=6, timeout=1.0, udp=False, namespace=None):
        self.lab, self.timeout, self.namespace = lab, timeout, namespace or lab.host
        self.results, self.attempts, self._stop = collections.Counter(), 0, threading.Event()
        self.connections = 0       # of the attempts those that were TCP
        self.last_proxied = 0.0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._tcp, args=(n,), daemon=True) for n in range(threads)]
        if udp:
            self._threads.append(threading.Thread(target=self._udp, daemon=True))
        for thread in self._threads:
            thread.start()

    def _tcp(self, number):
        while not self._stop.is_set():
            result = client.probe(self.lab, labs.WEB[number % 2], timeout=self.timeout, namespace=self.namespace)
            number += 1
            with self._lock:
                self.attempts += 1
                self.connections += 1
                self.results[result.kind if result.kind != client.ERROR else result.error] += 1
                if result.kind == client.VIA_PROXY:
                    self.last_proxied = time.monotonic()
            if result.kind == client.ERROR:
                time.sleep(0.001)

    def _udp(self):
        while not self._stop.is_set():
            for address in labs.WEB:
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                with self.namespace.socket(family, socket.SOCK_DGRAM) as sock:
                    error = sock.connect_ex((address, 443))
                    try:
                        if not error:
                            sock.send(b"leak?")
                        outcome = "udp sent"
                    except OSError:
                        outcome = "udp refused"
                with self._lock:
                    self.attempts += 1
                    self.results[outcome] += 1
            time.sleep(0.002)

    def wait(self, count, timeout=60, connections=False):
        """Until `count` more attempts were made; `connections`: only TCP counts."""
        what = "connections" if connections else "attempts"
        target = getattr(self, what) + count
        labs.wait_until(lambda: getattr(self, what) >= target, timeout, f"{count} {what}")

    def wait_proxied(self, timeout=30):
        """Until a connection that began to be counted now went through the proxy."""
        since = time.monotonic()
        labs.wait_until(lambda: self.last_proxied > since, timeout, f"connections flow: {dict(self.results)}")

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(self.timeout + 10)
        return self.results

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
