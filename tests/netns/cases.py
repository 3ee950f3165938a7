"""The registry: every test is a function that takes a Lab."""
import dataclasses
import importlib
import os

CASES = {}


class Skip(Exception):
    """Raised by a test for what this machine cannot do; the text says what."""


@dataclasses.dataclass
class Case:
    name: str
    function: object
    timeout: int = 60              # seconds, for the whole case
    needs_product: bool = True
    heavy: bool = False            # takes a whole core: beside fewer others
    listed: bool = True            # False: run by a test of its own, not once per build
    summary: str = ""


def case(name=None, timeout=60, product=True, heavy=False, listed=True):
    def register(function):
        label = name or function.__name__.removeprefix("test_")
        assert label not in CASES, f"two tests are called {label}"
        CASES[label] = Case(label, function, timeout, product, heavy, listed, (function.__doc__ or "").strip().split("\n")[0])
        return function
    return register


def load():
    here = os.path.dirname(os.path.abspath(__file__))
    for file in sorted(os.listdir(here)):
        if file.startswith("test_") and file.endswith(".py"):
            importlib.import_module(file[:-3])
    return CASES
