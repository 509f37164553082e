"""Where the output of volume commands goes, when that is not what one would wish: full, closed, gone, a device."""

import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.engines import REPO, Berth, wait_for

pytestmark = pytest.mark.root


@pytest.fixture
def berth(berth_engine: Berth) -> Iterator[Berth]:
    """Give an engine with volume ``large`` of 40 MB that no compression makes small."""
    berth_engine.api("POST", "/volumes/create", {"Name": "large"})
    data = Path(berth_engine.api("GET", "/volumes/large").body["Mountpoint"])
    (data / "file").write_bytes(os.urandom(40 << 20))
    yield berth_engine
    berth_engine.api("DELETE", "/volumes/large")


def shell(engine: Berth, line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of bash in which `b` is our client."""
    text = f'b() {{ "{REPO}/.venv/bin/berth" volume "$@"; }}; set -o pipefail; {line}'
    return subprocess.run(["bash", "-c", text], capture_output=True, text=True, env=engine.environment, timeout=240)


COMMANDS = ("export large", "backup -o - large", "cat large:/file", "ls")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_an_error_in_one_line(berth: Berth, command: str) -> None:
    done = shell(berth, f"b {command} >/dev/full")
    assert done.returncode == 1
    assert done.stderr.endswith("no space left on device\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS[:-1])
def test_a_reader_that_leaves_ends_the_command_as_sigpipe_would(berth: Berth, command: str) -> None:
    done = shell(berth, f"b {command} | head -c 1 | wc -c")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (141, "1", "")


def test_streams_that_are_closed_lead_nowhere(berth: Berth) -> None:
    done = shell(berth, "b ls >&-; echo $?; b ls <&- 2>&- >&-; echo $?; b inspect nosuch 2>&-; echo $?")
    assert (done.stdout, done.stderr) == ("0\n0\n[]\n1\n", "")


def test_a_device_is_written_and_stays_a_device(berth: Berth) -> None:
    for command in ("backup -o /dev/null large", "export -o /dev/null large"):
        assert shell(berth, f"b {command}").returncode == 0
        assert stat.S_ISCHR(os.lstat("/dev/null").st_mode), command


def test_a_backup_that_is_ended_leaves_no_part_of_a_file(berth: Berth, tmp_path: Path) -> None:
    argv = [REPO / ".venv/bin/berth", "volume", "backup", "-o", tmp_path, "--compress", "zstd:19", "large"]
    with subprocess.Popen(argv, env=berth.environment, stderr=subprocess.PIPE) as backup:
        wait_for(lambda: os.listdir(tmp_path), "the backup to begin")
        backup.send_signal(signal.SIGTERM)
        assert backup.wait(90) == 128 + signal.SIGTERM
    assert os.listdir(tmp_path) == []


def test_no_copy_takes_the_place_of_a_device(berth: Berth, tmp_path: Path) -> None:
    device = tmp_path / "device"
    os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    berth.docker("create", "--name", "source", "busybox")
    try:
        for client, words in (
            ("docker", ("cp", "source:/etc/passwd")),
            ("berth", ("cp", "source:/etc/passwd")),
            ("berth", ("volume", "cp", "large:/file")),
        ):
            refused = berth.client(client)(*words, str(device), check=False)
            assert refused.code == 1
            assert f'"{device}" must be a directory or a regular file: got a device' in refused.err
            assert stat.S_ISCHR(device.lstat().st_mode), words
    finally:
        berth.docker("rm", "source")
