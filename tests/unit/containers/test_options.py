import contextlib
import signal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from berth.base.errors import EngineError, InvalidArgument
from berth.containers import options
from berth.wire.containers import ContainerConfig, Healthcheck, HostConfig, LogConfig, RestartPolicy, Ulimit
from berth.wire.images import ImageConfig


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("KILL", 9),
        ("sigkill", 9),
        ("9", 9),
        ("SIGTERM", 15),
        ("RTMIN", signal.SIGRTMIN),
        ("SIGRTMIN+3", signal.SIGRTMIN + 3),
    ],
)
def test_signals_by_name_and_number(text: str, number: int) -> None:
    assert options.parse_signal(text) == number


@pytest.mark.parametrize("text", ["", "FOO", "0", "-9", "9999", "SIG", "RTMIN+99", "KILL KILL", "_DFL"])
def test_no_such_signal(text: str) -> None:
    with pytest.raises(options.InvalidSignal, match="Invalid signal: "):
        options.parse_signal(text)


@given(st.text(max_size=12))
def test_any_text_is_a_signal_or_a_clear_error(text: str) -> None:
    with contextlib.suppress(options.InvalidSignal):
        assert 0 < options.parse_signal(text) < signal.NSIG


def test_the_request_wins_over_the_image() -> None:
    image = ImageConfig(
        user="web", env=("A=image", "B=image"), entrypoint=("/entry",), cmd=("serve",), working_dir="/srv",
        exposed_ports={"80/tcp": {}}, volumes={"/data": {}}, labels={"of": "image", "kept": "yes"},
        stop_signal="SIGQUIT",
    )  # fmt: skip
    merged = options.merged(ContainerConfig(env=["A=own"], labels={"of": "own"}, exposed_ports={"81/tcp": {}}), image)
    assert (merged.user, merged.working_dir, merged.stop_signal) == ("web", "/srv", "SIGQUIT")
    assert merged.env == ["A=own", "B=image"]
    assert merged.labels == {"of": "own", "kept": "yes"}
    assert set(merged.exposed_ports or ()) == {"80/tcp", "81/tcp"}
    assert options.command(merged) == ("/entry", ("serve",))


@pytest.mark.parametrize(
    ("entrypoint", "cmd", "words"),
    [
        (None, None, ["/entry", "serve"]),
        (None, ["other"], ["/entry", "other"]),
        (["mine"], None, ["mine"]),
        (["mine"], ["arg"], ["mine", "arg"]),
        ([""], ["sh", "-c", "x"], ["sh", "-c", "x"]),
        ([], ["sh"], ["sh"]),
    ],
)
def test_which_program_runs(entrypoint: list[str] | None, cmd: list[str] | None, words: list[str]) -> None:
    image = ImageConfig(entrypoint=("/entry",), cmd=("serve",))
    path, args = options.command(options.merged(ContainerConfig(entrypoint=entrypoint, cmd=cmd), image))
    assert [path, *args] == words


def test_nothing_to_run() -> None:
    with pytest.raises(InvalidArgument, match="no command specified"):
        options.command(options.merged(ContainerConfig(), ImageConfig()))


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (HostConfig(memory=1000), "Minimum memory limit allowed is 6MB"),
        (HostConfig(memory=64 << 20, memory_swap=1000), "Minimum memoryswap limit should be larger"),
        (HostConfig(memory_swap=64 << 20), "You should always set the Memory limit"),
        (HostConfig(nano_cpus=3_000_000_000), "as there are only 2 CPUs available"),
        (HostConfig(nano_cpus=1_000, cpu_quota=5_000), "Conflicting options: Nano CPUs and CPU Quota"),
        (HostConfig(shm_size=-1), "SHM size can not be less than 0"),
        (HostConfig(oom_score_adj=-1001), "range for oom score adj is"),
        (HostConfig(cap_add=["FOO"]), 'invalid CapAdd: unknown capability: "CAP_FOO"'),
        (HostConfig(ipc_mode="foo"), "invalid IPC mode: foo"),
        (HostConfig(pid_mode="container:"), "invalid PID mode"),
        (HostConfig(uts_mode="foo"), "invalid UTS mode: foo"),
        (HostConfig(cgroupns_mode="bad"), "invalid cgroup namespace mode: bad"),
        (HostConfig(restart_policy=RestartPolicy(name="foo")), "invalid restart policy"),
        (HostConfig(restart_policy=RestartPolicy(name="always", maximum_retry_count=3)), "maximum retry count"),
        (HostConfig(restart_policy=RestartPolicy(name="on-failure", maximum_retry_count=-3)), "cannot be negative"),
        (HostConfig(auto_remove=True, restart_policy=RestartPolicy(name="always")), "can't create 'AutoRemove'"),
        (HostConfig(log_config=LogConfig(type="nope")), "error looking up logging plugin nope"),
        (HostConfig(log_config=LogConfig(type="json-file", config={"foo": "x"})), "unknown log opt 'foo'"),
        (HostConfig(security_opt=["foo=bar"]), "invalid --security-opt 2"),
        (HostConfig(security_opt=["seccomp={"]), "Decoding seccomp profile failed"),
        (HostConfig(ulimits=[Ulimit(name="foo", soft=1, hard=1)]), "invalid ulimit type: foo"),
        (HostConfig(ulimits=[Ulimit(name="nofile", soft=2, hard=1)]), "soft limit must be less than or equal"),
        (HostConfig(port_bindings={"abc/tcp": []}), 'invalid port specification: "abc"'),
        (HostConfig(port_bindings={"70000/tcp": []}), 'invalid port specification: "70000"'),
        (HostConfig(device_cgroup_rules=["x 1:1 rwm"]), "invalid device cgroup rule format"),
    ],
)  # fmt: skip
def test_refused_host_configurations(host: HostConfig, words: str) -> None:
    with pytest.raises(EngineError, match=words.replace("(", "\\(")) as caught:
        options.checked_host_config(host, cpus=2)
    assert isinstance(caught.value, InvalidArgument)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (ContainerConfig(working_dir="foo"), "needs to be an absolute path"),
        (ContainerConfig(env=["=x"]), "invalid environment variable: =x"),
        (ContainerConfig(stop_signal="FOO"), "Invalid signal: FOO"),
        (ContainerConfig(cmd=["a\0b"]), "NUL"),
        (ContainerConfig(healthcheck=Healthcheck(test=["CMD", "x"], interval=100)), "Interval in Healthcheck"),
        (ContainerConfig(healthcheck=Healthcheck(test=["FOO"])), "Unknown healthcheck type"),
        (ContainerConfig(exposed_ports={"80/foo": {}}), "unknown protocol"),
    ],
)
def test_refused_configurations(config: ContainerConfig, words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        options.checked_config(config)


def test_defaults_are_filled_in() -> None:
    host = options.checked_host_config(HostConfig(memory=64 << 20), cpus=2)
    assert host.memory_swap == 128 << 20
    assert host.shm_size == 64 << 20
    assert host.network_mode == "default"
    assert host.log_config == LogConfig(type="json-file", config={})
    assert host.restart_policy.name == "no"
    assert host.ipc_mode == "private"


def test_security_options() -> None:
    found = options.security(["no-new-privileges", "seccomp=unconfined", "systempaths=unconfined", "label=disable"])
    assert found == options.Security(no_new_privileges=True, seccomp="unconfined", system_paths=True)
    assert options.security(["no-new-privileges:false"]) == options.Security()
    profile = '{"defaultAction":"SCMP_ACT_ALLOW"}'
    assert options.security([f"seccomp={profile}"]).seccomp == profile
