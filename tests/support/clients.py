"""Which Docker is at hand, where a test asks more of its client, or knows less of its daemon, than every version has.

A distribution's own client may be old (Debian 12: 20.10, Debian 13: 26); the tests' words and flags are of 28. The
daemon we compare with is the distribution's: where words and fields differ by version, the tests' are of 20.10.
"""

import subprocess
from functools import cache

import pytest

from tests.support.engines import ORACLE, docker_client

#: How the reason of a skip begins that is due to the distribution's Docker: no setting up by us mends that.
OLD_CLIENT = "the docker client"
OTHER_ORIGINAL = "the original"


@cache
def docker_client_version() -> int:
    """Return the major version of the docker client."""
    return _major(docker_client())


@cache
def original_version() -> int:
    """Return the major version of the daemon we compare with."""
    return _major(str(ORACLE / "usr/sbin/dockerd"))


def _major(program: str) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return int(said.split("version ")[1].split(".")[0])


def needs_client(major: int, why: str) -> None:
    """Skip a test, or the rest of it, whose docker client is older than `major`."""
    if docker_client_version() < major:
        pytest.skip(f"{OLD_CLIENT}, {docker_client_version()}, is older than {major}: {why}; DOCKER_CLI names another")


def needs_original_20(kind: str = "dockerd") -> None:
    """Skip a test of the original, or the rest of it, that is about words or fields of 20.10 where it is another."""
    if kind == "dockerd" and original_version() != 20:
        pytest.skip(f"{OTHER_ORIGINAL} here is {original_version()}: what is compared are words and fields of 20.10")
