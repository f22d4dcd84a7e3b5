"""Freed memory stays while something trains, and is given back afterwards; each in a process of its own."""

import json
import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library isn't glibc")

# Minor page faults of taking and freeing 64 MB six times, and resident megabytes, before, inside and afterwards.
SCRIPT = """
import contextlib, json, resource, threading
from data_catalog.memory import kept_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20

def work():
    before = faults()
    for _ in range(6):
        block = bytearray(b"x") * (64 << 20)
        del block
    return faults() - before

told = {"plain": work(), "resident_before": resident()}
with kept_memory():
    with kept_memory():
        work()
    told["kept"] = work()
    told["resident_inside"] = resident()
told["resident_after"] = resident()
told["after"] = work()
print(json.dumps(told))
"""


def measured(**environment: str) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, env=os.environ | environment
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def test_pages_are_cleared_once_and_given_back() -> None:
    told = measured()
    assert told["kept"] < told["plain"] / 10
    assert told["resident_inside"] > told["resident_before"] + 50
    assert told["resident_after"] < told["resident_before"] + 10
    assert told["after"] > told["plain"] / 2   # it is as it was


@pytest.mark.parametrize("variable", ["MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES"])
def test_what_the_user_has_set_counts(variable: str) -> None:
    value = "glibc.malloc.trim_threshold=131072" if variable == "GLIBC_TUNABLES" else "131072"
    told = measured(**{variable: value})
    assert told["kept"] > told["plain"] / 2
