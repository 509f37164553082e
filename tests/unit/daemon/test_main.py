"""The command line of berthd: settings in dockerd's style."""

import re
from pathlib import Path

import pytest

from berth.base.config import BadSetting
from berth.base.errors import InvalidArgument
from berth.daemon.main import main, settings
from berth.daemon.sockets import listen


def none(tmp_path: Path) -> str:
    path = tmp_path / "daemon.json"
    path.write_text("{}")
    return str(path)


def test_flags_become_settings(tmp_path: Path) -> None:
    config = settings(
        ["--config-file", none(tmp_path), "-H", "unix:///a", "-H", "tcp://127.0.0.1:1", "--data-root", "/d", "-D",
         "--dns", "1.1.1.1", "--dns", "8.8.8.8", "--mtu", "1400", "--insecure-registry", "r:5000"]
    )  # fmt: skip
    assert config.listen == ("unix:///a", "tcp://127.0.0.1:1")
    assert (config.data_root, config.log_level, config.mtu) == ("/d", "debug", 1400)
    assert config.dns == ("1.1.1.1", "8.8.8.8")
    assert config.insecure_registries == ("r:5000",)


def test_settings_of_networks(tmp_path: Path) -> None:
    config = settings(
        ["--config-file", none(tmp_path), "--icc=false", "--ip-masq", "false", "--ipv6", "--fixed-cidr-v6", "fd01::/64",
         "--default-address-pool", "base=10.0.0.0/8,size=24", "--default-network-opt", "bridge=a.b=c=d", "--ip", "::1"]
    )  # fmt: skip
    assert (config.icc, config.ip_masq, config.ipv6, config.allow_direct_routing) == (False, False, True, False)
    assert (config.fixed_cidr_v6, config.ip) == ("fd01::/64", "::1")
    assert [(pool.base, pool.size) for pool in config.default_address_pools] == [("10.0.0.0/8", 24)]
    assert config.default_network_opts == {"bridge": {"a.b": "c=d"}}


def test_settings_of_the_host_and_its_default_network(tmp_path: Path) -> None:
    config = settings(
        ["--config-file", none(tmp_path), "-b", "br9", "--ip-forward=false", "--userland-proxy=false", "--iptables",
         "--ip6tables=true", "--ip-forward-no-drop", "--firewall-backend=nftables"]
    )  # fmt: skip
    assert (config.bridge, config.ip_forward, config.userland_proxy) == ("br9", False, False)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--iptables=false"], "iptables=false: rules are not made by iptables here"),
        (["--ip6tables=false"], "ip6tables=false: rules are not made by iptables here"),
        (["--ip-forward-no-drop=false"], "never says what becomes of others' forwarded packets"),
        (["--firewall-backend", "iptables"], "there is nftables only"),
        (["--userland-proxy-path", "/x"], "userland-proxy-path is dockerd's: one proxy"),
        (["--network-control-plane-mtu", "1500"], "network-control-plane-mtu is dockerd's: there is no swarm"),
        (["--bridge-accept-fwmark", "1"], "bridge-accept-fwmark is dockerd's: accept"),
        (["-b", "br9", "--bip", "10.0.0.1/24"], "You specified -b & --bip, mutually exclusive options"),
    ],
)
def test_settings_of_dockerds_that_make_no_sense_here_are_refused(tmp_path: Path, flags: list[str], words: str) -> None:
    with pytest.raises(BadSetting, match=re.escape(words)):
        settings(["--config-file", none(tmp_path), *flags])


@pytest.mark.parametrize(
    "flag", ["--icc=perhaps", "--default-address-pool=10.0.0.0/8", "--default-network-opt=bridge", "--ipv6=2"]
)
def test_flags_that_say_nothing_are_refused(tmp_path: Path, flag: str) -> None:
    with pytest.raises(SystemExit):
        settings(["--config-file", none(tmp_path), flag])


def test_a_bad_setting_is_one_line_and_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config-file", none(tmp_path), "--log-level", "loud"]) == 1
    assert capsys.readouterr().err.startswith("berthd: invalid log level 'loud'")


def test_validate_says_so_and_ends(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        settings(["--config-file", none(tmp_path), "--validate"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == "configuration OK\n"


def test_an_unknown_key_in_the_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "daemon.json"
    path.write_text('{"dta-root": "/x"}')
    with pytest.raises(BadSetting, match="did you mean 'data-root'"):
        settings(["--config-file", str(path)])


@pytest.mark.parametrize("host", ["ftp://x", "unix://relative", "tcp://nohost", "plain", "fd://"])
def test_bad_addresses_are_refused(host: str) -> None:
    with pytest.raises(InvalidArgument):
        listen([host], "")


def test_a_stale_socket_is_replaced_and_a_group_may_use_it(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    first = listen([f"unix://{path}"], "")[0]
    assert path.stat().st_mode & 0o777 == 0o660
    first.close()
