"""The docker client at hand, where a test asks more of it than every version can.

A distribution's own client may be old (Debian 12: 20.10, Debian 13: 26); the tests' words and flags are of 28.
"""

import subprocess
from functools import cache

import pytest

from tests.support.engines import docker_client

#: How the reason of a skip begins that is the machine's docker client's: no setting up by us mends that.
OLD_CLIENT = "the docker client"


@cache
def docker_client_version() -> int:
    """Return the major version of the docker client."""
    said = subprocess.run([docker_client(), "--version"], capture_output=True, text=True, check=True).stdout
    return int(said.split("version ")[1].split(".")[0])


def needs_client(major: int, why: str) -> None:
    """Skip a test, or the rest of it, whose docker client is older than `major`."""
    if docker_client_version() < major:
        pytest.skip(f"{OLD_CLIENT}, {docker_client_version()}, is older than {major}: {why}; DOCKER_CLI names another")
