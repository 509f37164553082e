"""Instructions of ``--change``."""

import pytest

from berth.images.changes import apply_changes
from berth.images.errors import BadChange


def test_instructions() -> None:
    made = apply_changes(
        {"Env": ["A=0", "B=1"]},
        [
            'CMD ["sh", "-c", "true"]',
            "entrypoint run me",
            'ENV A=2 C="d e"',
            "ENV OLD form of it",
            "LABEL a=b",
            "EXPOSE 80 53/udp 1000-1001",
            'VOLUME ["/a", "/b"]',
            "WORKDIR /srv",
            "WORKDIR www",
            "USER 1:2",
            "STOPSIGNAL SIGQUIT",
            "HEALTHCHECK --interval=3s --retries=2 CMD curl -f localhost",
            "",
        ],
    )
    assert made == {
        "Env": ["A=2", "B=1", "C=d e", "OLD=form of it"],
        "Cmd": ["sh", "-c", "true"],
        "Entrypoint": ["/bin/sh", "-c", "run me"],
        "Labels": {"a": "b"},
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}, "1000/tcp": {}, "1001/tcp": {}},
        "Volumes": {"/a": {}, "/b": {}},
        "WorkingDir": "/srv/www",
        "User": "1:2",
        "StopSignal": "SIGQUIT",
        "Healthcheck": {"Test": ["CMD-SHELL", "curl -f localhost"], "Interval": 3_000_000_000, "Retries": 2},
    }


def test_an_entrypoint_takes_away_the_command_of_the_one_before() -> None:
    below = {"Cmd": ["serve"], "Entrypoint": ["web"]}
    assert apply_changes(below, ['ENTRYPOINT ["db"]']) == {"Entrypoint": ["db"]}
    assert apply_changes(below, ["CMD a", 'ENTRYPOINT ["db"]'])["Cmd"] == ["/bin/sh", "-c", "a"]


@pytest.mark.parametrize(
    "change",
    [
        "HEALTHCHECK --retries=0 CMD x",
        "HEALTHCHECK --interval=1ns CMD x",
        "HEALTHCHECK --foo=1 CMD x",
        "FOO bar",
        "RUN true",
        "CMD",
        "EXPOSE 70000",
        "EXPOSE x",
        "ENV 'a",
        "LABEL a=b c",
        "SHELL sh",
    ],
)
def test_bad_instructions(change: str) -> None:
    with pytest.raises(BadChange):
        apply_changes({}, [change])
