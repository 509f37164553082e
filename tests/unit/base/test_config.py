"""Settings: every bad key is named, and the nearest known one."""

from pathlib import Path

import pytest

from berth.base.config import BadSetting, load


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "daemon.json"
    path.write_text(text)
    return path


def test_flags_lie_over_the_file(tmp_path: Path) -> None:
    config = load(write(tmp_path, '{"data-root":"/d","log-level":"debug"}'), {"exec-root": "/e"})
    assert (config.data_root, config.exec_root, config.log_level) == ("/d", "/e", "debug")
    assert config.listen == ("unix:///e/berth.sock",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not a JSON object"),
        ("[]", "not a JSON object"),
        ('{"data-rot":"/x"}', "did you mean 'data-root'"),
        ('{"mtu":"big"}', "mtu"),
        ('{"log-level":"loud"}', "one of debug"),
        ('{"data-root":"x"}', "absolute"),
        ('{"bip":"1.2.3"}', "bip"),
        ('{"bip":"fd00::1/64"}', "bip: fd00::1/64 is not IPv4"),
        ('{"bip6":"10.0.0.1/8"}', "bip6: 10.0.0.1/8 is not IPv6"),
        ('{"fixed-cidr":"10.0.0.1/24"}', "fixed-cidr: .*host bits"),
        ('{"bip":"10.0.0.1/24","fixed-cidr":"10.0.1.0/25"}', "fixed-cidr: 10.0.1.0/25 is not within 10.0.0.0/24"),
        ('{"bip6":"fd00::1/64","default-gateway-v6":"fd01::2"}', "default-gateway-v6: fd01::2 is not within fd00::/64"),
        ('{"ip":"nowhere"}', "ip: 'nowhere'"),
        ('{"bridge":"br9","bip":"10.0.0.1/24"}', "mutually exclusive"),
        ('{"iptables":false}', "iptables=false: rules are not made by iptables"),
        ('{"firewall-backend":"iptables"}', "there is nftables only"),
        ('{"userland-proxy-path":"/x"}', "userland-proxy-path is dockerd's"),
        ('{"network-control-plane-mtu":1500}', "network-control-plane-mtu is dockerd's"),
        ('{"default-network-opts":{"bridge":"x"}}', "default-network-opts"),
        ('{"host-gateway-ips":["here"]}', "host-gateway-ips"),
        ('{"default-address-pools":[{"base":"10.0.0.0/8","size":4}]}', "does not fit"),
        ('{"default-address-pools":[{"base":"fd00::/48","size":127}]}', "does not fit"),
        ('{"default-address-pools":[{"base":"10.0.0.1/8","size":24}]}', "host bits"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadSetting, match=said):
        load(write(tmp_path, text), {})


def test_the_same_in_both_places_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="both as a flag and in"):
        load(write(tmp_path, '{"mtu":1400}'), {"mtu": 1500})


def test_a_named_file_must_exist(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="does not exist"):
        load(tmp_path / "none.json", {})
