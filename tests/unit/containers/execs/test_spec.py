from pathlib import Path

import msgspec
import pytest

from berth.base.errors import Conflict, InvalidArgument
from berth.containers.execs.model import Command, check_running, parse_size
from berth.containers.execs.spec import process_spec, translate
from berth.containers.model import ContainerRecord
from berth.containers.states import State
from berth.wire.containers import ContainerConfig, HostConfig
from berth.wire.execs import ExecCreate

BUNDLE = {
    "process": {
        "terminal": True,
        "consoleSize": {"height": 1, "width": 1},
        "user": {"uid": 5, "gid": 6},
        "args": ["sh"],
        "env": ["PATH=/bin", "HOSTNAME=x", "TERM=xterm", "A=1"],
        "cwd": "/srv",
        "capabilities": {"bounding": ["CAP_CHOWN"]},
        "apparmorProfile": "berth",
    }
}


def record(state: State = State.RUNNING) -> ContainerRecord:
    return ContainerRecord(
        id="c" * 64, name="c", created_ns=1, image_id="i", image_ref="i", config=ContainerConfig(env=["A=1"]),
        host_config=HostConfig(), state=state,
    )  # fmt: skip


def spec(tmp_path: Path, command: Command) -> dict[str, object]:
    (tmp_path / "config.json").write_bytes(msgspec.json.encode(BUNDLE))
    decoded: dict[str, object] = msgspec.json.decode(process_spec(tmp_path, record(), command))
    return decoded


def test_a_command_runs_as_the_containers_own_process(tmp_path: Path) -> None:
    made = spec(tmp_path, Command(argv=("ls", "-l")))
    assert made["args"] == ["ls", "-l"]
    assert made["user"] == {"uid": 5, "gid": 6}
    assert made["cwd"] == "/srv"
    assert made["env"] == ["PATH=/bin", "HOSTNAME=x", "A=1"]
    assert made["terminal"] is False
    assert "consoleSize" not in made


def test_what_the_command_says_wins(tmp_path: Path) -> None:
    made = spec(
        tmp_path,
        Command(argv=("ls",), tty=True, env=("A=2", "B=3", "HOSTNAME"), working_dir="/w", size=(24, 80)),
    )
    assert made["env"] == ["PATH=/bin", "TERM=xterm", "A=2", "B=3"]
    assert made["cwd"] == "/w"
    assert made["terminal"] is True


def test_privileged_has_every_capability(tmp_path: Path) -> None:
    made = spec(tmp_path, Command(argv=("ls",), privileged=True))
    capabilities = made["capabilities"]
    assert isinstance(capabilities, dict)
    assert "CAP_SYS_ADMIN" in capabilities["effective"]
    assert "apparmorProfile" not in made


@pytest.mark.parametrize(
    ("complaint", "said", "code"),
    [
        ("executable file `nosuch` not found in $PATH: No such file or directory",
         'exec: "nosuch": executable file not found in $PATH', 127),
        ('exec failed: unable to start container process: exec: "nosuch": executable file not found in $PATH',
         'exec: "nosuch": executable file not found in $PATH', 127),
        ("executable file `/nosuch` not found: No such file or directory",
         'exec: "nosuch": stat nosuch: no such file or directory', 127),
        ("open executable: Operation not permitted", 'exec: "nosuch": permission denied', 126),
        ("the path `/etc` is not a regular file: Operation not permitted", 'exec: "nosuch": permission denied', 126),
        ("the path `/etc/passwd` exists but it is not executable: Operation not permitted",
         'exec: "nosuch": permission denied', 126),
        ("chdir `/w`: No such file or directory",
         'chdir to cwd ("/w") set in config.json failed: no such file or directory', 126),
        ("exec: Exec format error", "exec nosuch: exec format error", 126),
        ("something else", "something else", 126),
    ],
)  # fmt: skip
def test_complaints_are_told_in_dockers_words(complaint: str, said: str, code: int) -> None:
    failure = translate(complaint, Command(argv=("nosuch",), working_dir="/w"))
    assert str(failure) == f"OCI runtime exec failed: exec failed: unable to start container process: {said}"
    assert failure.exit_code == code


@pytest.mark.parametrize(
    ("state", "words"),
    [(State.PAUSED, "is paused, unpause the container before exec"), (State.EXITED, "is not running"),
     (State.CREATED, "is not running"), (State.RESTARTING, "is restarting, wait until the container is running")],
)  # fmt: skip
def test_only_running_containers_run_commands(state: State, words: str) -> None:
    with pytest.raises(Conflict, match=words):
        check_running(record(state))
    check_running(record())


def test_sizes_are_read() -> None:
    assert parse_size(None) is parse_size([0, 0]) is None
    assert parse_size([24, 80]) == (24, 80)
    with pytest.raises(InvalidArgument):
        parse_size([1, 2, 3])


def test_a_command_may_be_one_string_and_fields_null() -> None:
    want = msgspec.json.decode(b'{"Cmd": "ls", "Env": null, "Tty": null, "User": null}', type=ExecCreate)
    assert want.argv == ("ls",)
    assert msgspec.json.decode(b"{}", type=ExecCreate).argv == ()
