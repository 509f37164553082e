"""Every form of asking for a mount, in few containers: what is seen inside, on Berth and on the original.

What came after 20.10 is asked of Berth alone, by the words of the API's and the client's documentation.
"""

# ruff: noqa: E501  one case, one line, where it can be
import json
from pathlib import Path

import pytest

from tests.support.clients import original_version
from tests.support.engines import Berth, Engine

pytestmark = [pytest.mark.root, pytest.mark.compat]


def seen(engine: Engine, flags: list[str], questions: dict[str, str]) -> dict[str, str]:
    """Run one container with these flags and return what each question's script says."""
    script = "".join(f'echo "@{name}"; ( {ask} ) 2>&1; ' for name, ask in questions.items())
    done = engine.docker("run", "--rm", *flags, "busybox", "sh", "-c", f"{script}true")
    parts = done.out.split("@")[1:]
    return {name: text.strip() for name, _, text in (part.partition("\n") for part in parts)}


#: Says "yes" if a file can be made in a directory.
def writes(path: str) -> str:
    return f"touch {path}/probe 2>/dev/null && rm {path}/probe && echo yes || echo no"


def options(path: str) -> str:
    return f"awk '$2 == \"{path}\" {{print $4}}' /proc/mounts | tr , '\\n' | grep -vE 'relatime|inode64' | sort | tr '\\n' ' '"


def test_binds(place: Engine, tmp_path: Path) -> None:
    (tmp_path / "dir/sub").mkdir(parents=True)
    (tmp_path / "file").write_text("content\n")
    here = f"{tmp_path}/dir"
    flags = ["-v", f"{here}:/rw", "-v", f"{here}:/ro:ro", "-v", f"{here}:/z:z", "-v", f"{here}:/both:Z,ro",
             "-v", f"{here}:/cached:cached", "-v", f"{here}:/deleg:ro,delegated,private",
             "-v", f"{tmp_path}/file:/etc/one:ro", "-v", f"{tmp_path}/made/deep:/made",
             "--mount", f"type=bind,src={here},dst=/m1", "--mount", f"type=bind,source={here},destination=/m2,ro",
             "--mount", f"type=bind,source={here},target=/m3,readonly=true,consistency=cached",
             "--mount", f"type=bind,source={here},target=/m4,readonly=0,bind-propagation=rprivate",
             "--mount", f'type=bind,"source={tmp_path}/with, comma",target=/m5']  # fmt: skip
    (tmp_path / "with, comma").mkdir()
    targets = ("/rw", "/ro", "/z", "/both", "/cached", "/deleg", "/made", "/m1", "/m2", "/m3", "/m4", "/m5")
    said = seen(place, flags, {target: writes(target) for target in targets} | {"one": "cat /etc/one; ls /rw"})
    assert {target for target in targets if said[target] == "no"} == {"/ro", "/both", "/deleg", "/m2", "/m3"}
    assert said["one"] == "content\nsub"
    made = tmp_path / "made/deep"
    assert made.is_dir()
    assert made.stat().st_mode & 0o777 == 0o755


def test_propagation(place: Engine, tmp_path: Path) -> None:
    """What is mounted later on the host arrives where it was asked for, and the other way round only if shared."""
    shared = tmp_path / "shared"
    shared.mkdir()
    place.host("mount", "-t", "tmpfs", "t", str(shared))
    place.host("mount", "--make-shared", str(shared))
    try:
        (shared / "unused").mkdir()
        for name in ("host", "own"):
            place.host("mkdir", f"{shared}/{name}")
        kinds = ("private", "rprivate", "slave", "rslave", "shared", "rshared")
        flags = [word for kind in kinds for word in ("-v", f"{shared}:/{kind}:{kind}")]
        flags += ["--mount", f"type=bind,source={shared},target=/m,bind-propagation=rslave"]
        place.docker(
            "run",
            "-d",
            "--name",
            "prop",
            "--cap-add",
            "SYS_ADMIN",
            "--security-opt",
            "seccomp=unconfined",
            *flags,
            "busybox",
            "sleep",
            "1000",
        )
        place.host("mount", "-t", "tmpfs", "later", f"{shared}/host")
        listed = place.docker("exec", "prop", "grep", " /[a-z]*/host ", "/proc/mounts").out
        assert {line.split()[1].split("/")[1] for line in listed.splitlines()} == {
            "slave", "rslave", "shared", "rshared", "m",
        }  # fmt: skip
        place.docker("exec", "prop", "mount", "-t", "tmpfs", "inner", "/rslave/own")
        assert "inner" not in place.host("cat", "/proc/mounts").out
        place.docker("exec", "prop", "mount", "-t", "tmpfs", "inner", "/rshared/own")
        assert f"inner {shared}/own" in place.host("cat", "/proc/mounts").out
        place.docker("rm", "-f", "prop")
    finally:
        place.host("umount", "-R", "-l", str(shared), check=False)


def test_a_source_is_made_where_it_is_asked_for(berth: Berth, tmp_path: Path) -> None:
    """API 1.42 (dockerd 20.10 has not got it); without it a source that is missing is an error, as on dockerd."""
    base = f"type=bind,source={tmp_path}/made/deep,target=/d"
    refused = berth.berth("run", "--rm", "--mount", base, "busybox", "true", check=False)
    assert refused.code == 125
    assert f"bind source path does not exist: {tmp_path}/made/deep" in refused.err
    assert not (tmp_path / "made").exists()
    berth.berth("run", "--rm", "--mount", f"{base},bind-create-src", "busybox", "touch", "/d/there")
    assert (tmp_path / "made/deep/there").exists()


def test_mounts_below_a_bind(place: Engine, tmp_path: Path) -> None:
    (tmp_path / "dir/sub").mkdir(parents=True)
    place.host("mount", "-t", "tmpfs", "t", f"{tmp_path}/dir/sub")
    try:
        place.host("touch", f"{tmp_path}/dir/sub/there")
        base = f"type=bind,source={tmp_path}/dir,target="
        flags = ["--mount", f"{base}/all", "--mount", f"{base}/flat,bind-recursive=disabled",
                 "--mount", f"{base}/ro,readonly"]  # fmt: skip
        said = seen(place, flags, {"all": "ls /all/sub", "flat": "ls /flat/sub", "ro": writes("/ro"),
                                   "sub": writes("/ro/sub")})  # fmt: skip
        assert (said["all"], said["flat"], said["ro"]) == ("there", "", "no")
        # since Docker 25 read-only means all the way down; 20.10 left what is mounted below writable
        assert said["sub"] == ("no" if place.kind == "berth" or original_version() >= 25 else "yes")
        if place.kind == "berth":
            flags = ["--mount", f"{base}/w,readonly,bind-recursive=writable",
                     "--mount", f"{base}/r,readonly,bind-propagation=rprivate,bind-recursive=readonly",
                     "--mount", f"{base}/e,readonly,bind-recursive=enabled"]  # fmt: skip
            said = seen(place, flags, {name: f"{writes(f'/{name}')}; {writes(f'/{name}/sub')}" for name in "wre"})
            assert said == {"w": "no\nyes", "r": "no\nno", "e": "no\nno"}
    finally:
        place.host("umount", f"{tmp_path}/dir/sub")


@pytest.mark.parametrize("words", ["bind-nonrecursive", "bind-nonrecursive=true", "bind-recursive=disabled"])
def test_a_bind_may_leave_out_what_is_mounted_below(place: Engine, tmp_path: Path, words: str) -> None:
    """In its own client's words of today and of before, by either client; the engine is asked for the same."""
    (tmp_path / "dir/sub").mkdir(parents=True)
    place.host("mount", "-t", "tmpfs", "t", f"{tmp_path}/dir/sub")
    try:
        place.host("touch", f"{tmp_path}/dir/own", f"{tmp_path}/dir/sub/there")
        base = f"type=bind,source={tmp_path}/dir,target="
        ask = "ls -R /flat; echo --; ls /all/sub; touch /flat/sub/below"
        for client in (place.docker, place.berth):
            done = client("run", "--rm", "--mount", f"{base}/flat,{words}", "--mount", f"{base}/all,bind-recursive=enabled",
                          "busybox", "sh", "-c", ask)  # fmt: skip
            assert done.out.split() == ["/flat:", "own", "sub", "/flat/sub:", "--", "there"], client
            below = tmp_path / "dir/sub/below"  # of the directory, which the host has covered
            assert not place.host("ls", str(below), check=False).ok
            made = client("create", "--mount", f"{base}/flat,{words}", "busybox").out.strip()
            shown = place.api("GET", f"/containers/{made}/json").body["HostConfig"]["Mounts"]
            assert shown[0]["BindOptions"]["NonRecursive"] is True
            place.host("umount", f"{tmp_path}/dir/sub")
            assert place.host("ls", f"{tmp_path}/dir/sub").out.split() == ["below"]
            place.host("rm", str(below))
            place.host("mount", "-t", "tmpfs", "t", f"{tmp_path}/dir/sub")
            place.host("touch", f"{tmp_path}/dir/sub/there")
    finally:
        place.host("umount", f"{tmp_path}/dir/sub")


#: What the clients refuse, and the words.
_REFUSED = (
    ("type=bind,src=/tmp,dst=/d,bind-nonrecursive=x", "invalid value for bind-nonrecursive: x"),
    ("type=bind,src=/tmp,dst=/d,bind-recursive", "invalid field 'bind-recursive' must be a key=value pair"),
    ("type=bind,src=/tmp,dst=/d,bind-recursive=x",
     'invalid value for bind-recursive: x (must be "enabled", "disabled", "writable", or "readonly")'),
    ("type=bind,src=/tmp,dst=/d,bind-recursive=writable",
     "option 'bind-recursive=writable' requires 'readonly' to be specified in conjunction"),
    ("type=bind,src=/tmp,dst=/d,bind-recursive=readonly",
     "option 'bind-recursive=readonly' requires 'readonly' to be specified in conjunction"),
    ("type=bind,src=/tmp,dst=/d,readonly,bind-recursive=readonly",
     "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"),
    ("type=bind,src=/tmp,dst=/d,ro,bind-propagation=rslave,bind-recursive=readonly",
     "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in conjunction"),
    ("type=volume,src=v,dst=/d,bind-nonrecursive=true", "cannot mix 'bind-*' options with mount type 'volume'"),
    ("type=tmpfs,dst=/d,bind-recursive=disabled", "cannot mix 'bind-*' options with mount type 'tmpfs'"),
    ("type=cluster,src=v,dst=/d,bind-propagation=rslave", "cannot mix 'bind-*' options with mount type 'cluster'"),
    ("type=cluster,src=v,dst=/d,volume-nocopy", "cannot mix 'volume-*' options with mount type 'cluster'"),
    ("type=cluster,src=v,dst=/d,tmpfs-size=1m", "cannot mix 'tmpfs-*' options with mount type 'cluster'"),
    ("type=cluster,src=v", "target is required"),
)  # fmt: skip


@pytest.mark.parametrize(("words", "refusal"), _REFUSED)
def test_either_client_refuses_in_the_same_words(berth: Berth, words: str, refusal: str) -> None:
    for client in (berth.docker, berth.berth):
        refused = client("create", "--mount", words, "busybox", check=False)
        assert (refused.code, refused.out) == (125, ""), client
        assert refusal in refused.err


@pytest.mark.parametrize("words", ["type=cluster,source=group:db,target=/d", "type=cluster,target=/d,readonly"])
def test_volumes_of_a_cluster_are_for_services(place: Engine, words: str) -> None:
    """A container of its own has none: neither engine knows the type, and nothing is left of the attempt."""
    before = place.docker("volume", "ls", "-q").out
    for client in (place.docker, place.berth):
        for command, code in (("create", 1), ("run", 125)):
            refused = client(command, "--name", "clustered", "--mount", words, "busybox", check=False)
            assert (refused.code, refused.out) == (code, ""), client
            assert 'invalid mount config for type "cluster": mount type unknown' in refused.err
    assert not place.docker("ps", "-aq", "--filter", "name=clustered").out
    assert place.docker("volume", "ls", "-q").out == before


def test_an_older_client_gets_what_it_knew(berth: Berth, tmp_path: Path) -> None:
    """Before API 1.44 read-only did not reach what is mounted below, and clients of that time count on it."""
    (tmp_path / "dir/sub").mkdir(parents=True)
    berth.host("mount", "-t", "tmpfs", "t", f"{tmp_path}/dir/sub")
    try:
        for version, said in (("v1.43", "yes"), ("v1.44", "no")):
            mount = {"Type": "bind", "Source": f"{tmp_path}/dir", "Target": "/ro", "ReadOnly": True}
            body = {"Image": "busybox", "Cmd": ["sh", "-c", writes("/ro/sub")], "HostConfig": {"Mounts": [mount]}}
            made = berth.api("POST", f"/{version}/containers/create", body)
            assert berth.docker("start", "-a", made.body["Id"]).out.strip() == said, version
    finally:
        berth.host("umount", f"{tmp_path}/dir/sub")


def test_volumes(place: Engine) -> None:
    place.docker("run", "--rm", "-v", "forms:/d", "busybox", "sh", "-c", "mkdir /d/sub; echo s >/d/sub/f")
    flags = ["-v", "forms:/v", "-v", "forms:/ro:ro", "-v", "forms:/z:z,ro", "-v", "forms:/nc:nocopy,rw", "-v", "/anon",
             "-v", "etc:/etc", "-v", "bare:/bin2:nocopy",
             "--mount", "source=forms,target=/m1", "--mount", "type=volume,src=forms,dst=/m2,readonly",
             "--mount", "type=volume,target=/m3", "--mount", "type=volume,source=nocopy,target=/bin3,volume-nocopy=true",
             "--mount", "type=volume,source=lab,target=/m4,volume-label=a=b,volume-label=c,volume-driver=local,volume-opt=type=tmpfs,volume-opt=device=tmpfs,volume-opt=o=size=1m"]  # fmt: skip
    targets = ("/v", "/ro", "/z", "/nc", "/anon", "/m1", "/m2", "/m3", "/m4")
    said = seen(place, flags, {target: writes(target) for target in targets} | {
        "f": "cat /v/sub/f", "etc": "ls /etc; cat /etc/hosts | grep -c localhost; wc -l </etc/hostname",
        "size": "df -k /m4 | tail -1 | awk '{print $2}'",
    })  # fmt: skip
    assert {target for target in targets if said[target] == "no"} == {"/ro", "/z", "/m2"}
    assert (said["f"], said["size"]) == ("s", "1024")
    # a volume at /etc hides none of the engine's files
    names, (hosts, hostname) = said["etc"].split("\n")[:-2], said["etc"].split("\n")[-2:]
    assert {"hosts", "hostname", "resolv.conf"} <= set(names)
    assert int(hosts) >= 1
    assert hostname == "1"
    made = place.api("GET", "/volumes/lab").body
    assert made["Labels"] == {"a": "b", "c": ""}
    assert made["Options"] == {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"}


def test_parts_of_volumes(berth: Berth) -> None:
    berth.docker("run", "--rm", "-v", "parts:/d", "busybox", "sh", "-c",
                 "mkdir -p /d/a/b; echo f >/d/a/b/f; ln -s a/b /d/near; ln -s /etc /d/far; ln -s ../../.. /d/up")  # fmt: skip
    part = "type=volume,source=parts,target={},volume-subpath={}"
    flags = ["--mount", part.format("/p", "a/b"), "--mount", part.format("/etc/f", "a/b/f"),
             "--mount", part.format("/near", "near"), "--mount", part.format("/dots", "a/./../a")]  # fmt: skip
    said = seen(berth, flags, {"p": "ls /p", "f": "cat /etc/f", "near": "ls /near", "dots": "ls /dots"})
    assert said == {"p": "f", "f": "f", "near": "f", "dots": "b"}
    for bad, words in (("far", "leads out"), ("up", "leads out"), ("nosuch", "No such file")):
        refused = berth.docker("run", "--rm", "--mount", part.format("/x", bad), "busybox", check=False)
        assert words in refused.err


def test_tmpfs(place: Engine) -> None:
    flags = ["--tmpfs", "/t1", "--tmpfs", "/t2:rw,exec,size=2m,mode=1700,uid=7,gid=8", "--tmpfs", "/t3:ro,noatime,nr_inodes=9k",
             "--mount", "type=tmpfs,target=/m1", "--mount", "type=tmpfs,dst=/m2,tmpfs-size=3m,tmpfs-mode=0750",
             "--mount", "type=tmpfs,target=/m3,readonly", "--mount", "type=tmpfs,target=/m4,tmpfs-size=1048576"]  # fmt: skip
    said = seen(place, flags, {name: options(f"/{name}") for name in ("t1", "t2", "t3", "m1", "m2", "m3", "m4")}
                | {"stat": "stat -c '%a %u %g' /t1 /t2 /m1 /m2", "t2w": writes("/t2"), "t3w": writes("/t3")})  # fmt: skip
    assert said == {
        "t1": "nodev noexec nosuid rw", "t2": "gid=8 mode=1700 nodev nosuid rw size=2048k uid=7",
        "t3": "noatime nodev noexec nosuid nr_inodes=9216 ro", "m1": "nodev noexec nosuid rw",
        "m2": "mode=750 nodev noexec nosuid rw size=3072k", "m3": "nodev noexec nosuid ro",
        "m4": "nodev noexec nosuid rw size=1024k",
        "stat": "1777 0 0\n1700 7 8\n1777 0 0\n750 0 0", "t2w": "yes", "t3w": "no",
    }  # fmt: skip


def test_options_of_tmpfs_by_the_api(berth: Berth) -> None:
    mounts = [
        {"Type": "tmpfs", "Target": f"/{name}", "TmpfsOptions": {"Options": [[name]]}} for name in ("exec", "noexec")
    ]
    body = {"Image": "busybox", "Cmd": ["sh", "-c", f"{options('/exec')}; echo; {options('/noexec')}"],
            "HostConfig": {"Mounts": mounts}}  # fmt: skip
    made = berth.api("POST", "/containers/create", body)
    said = berth.docker("start", "-a", made.body["Id"]).out.split("\n")
    assert [one.strip() for one in said] == ["nodev nosuid rw", "nodev noexec nosuid rw"]


def test_volumes_of_others(place: Engine, tmp_path: Path) -> None:
    place.docker("create", "--name", "donor", "-v", "given:/v", "-v", "/anon", "-v", f"{tmp_path}:/b:ro", "--tmpfs", "/t",
                 "-v", "given:/both", "busybox")  # fmt: skip
    said = seen(place, ["--volumes-from", "donor", "-v", "mine:/both"],
                {name: writes(name) for name in ("/v", "/anon", "/b", "/both")} | {"t": "ls -d /t"})  # fmt: skip
    assert said == {"/v": "yes", "/anon": "yes", "/b": "no", "/both": "yes", "t": "ls: /t: No such file or directory"}
    place.docker("run", "--rm", "-v", "mine:/m", "busybox", "touch", "/m/own")
    said = seen(place, ["--volumes-from", "donor:ro"], {name: writes(name) for name in ("/v", "/anon", "/b", "/both")})
    assert set(said.values()) == {"no"}
    said = seen(place, ["--volumes-from", "donor:z", "-v", "mine:/both"], {"both": "ls /both"})
    assert said == {"both": "own"}


def test_a_read_only_root_and_hidden_paths(place: Engine) -> None:
    flags = ["--read-only", "-v", "data:/data", "--tmpfs", "/tmp", "-v", "fresh:/not/there/yet"]
    asks = {name: writes(name) for name in ("", "/etc", "/data", "/tmp", "/dev/shm", "/not/there", "/not/there/yet")}
    said = seen(place, flags, asks | {
        "masked": "wc -c </proc/keys; wc -c </proc/timer_list; ls /proc/acpi /sys/firmware | grep -c .",
        "ro": "for p in /proc/sys /proc/bus /proc/fs /proc/irq; do grep -c \" $p .*ro\" /proc/mounts; done; "
              "echo 1 2>/dev/null >/proc/sys/kernel/domainname && echo written",
        "sysfs": "touch /sys/x 2>/dev/null && echo written",
    })  # fmt: skip
    assert {name for name, answer in said.items() if answer == "yes"} == {"/data", "/tmp", "/dev/shm", "/not/there/yet"}
    assert said["masked"] in ("0\n0\n2", "0\n0\n0")  # names of two empty directories, or none
    assert said["ro"] == "1\n1\n1\n1"
    assert said["sysfs"] == ""
    body = {"Image": "busybox", "Cmd": ["sh", "-c", "ls /etc | wc -l; touch /bin/x && echo w; wc -c </proc/keys"],
            "HostConfig": {"MaskedPaths": ["/etc"], "ReadonlyPaths": ["/bin"]}}  # fmt: skip
    made = place.api("POST", "/containers/create", body)
    lines = place.docker("start", "-a", made.body["Id"], check=False).out.split()
    assert lines[0] == "0"
    assert "w" not in lines


def test_mounts_in_the_order_of_their_depth(place: Engine) -> None:
    flags = ["-v", "inner:/a/b/c", "--tmpfs", "/a/b", "-v", "outer:/a", "-v", "deepest:/a/b/c/d/e"]
    said = seen(
        place, flags, {"order": "grep -o ' /a[^ ]*' /proc/mounts", "write": "echo x >/a/b/c/d/e/f && ls /a/b/c/d/e"}
    )
    assert said["order"].split() == ["/a", "/a/b", "/a/b/c", "/a/b/c/d/e"]
    assert said["write"] == "f"


def test_what_inspection_says(place: Engine, tmp_path: Path) -> None:
    ident = place.docker(
        "create", "-v", f"{tmp_path}:/b:ro", "-v", "named:/v:z", "-v", "/anon", "--tmpfs", "/t:size=1m",
        "--mount", f"type=bind,source={tmp_path},target=/m,bind-propagation=rslave,readonly",
        "--mount", "type=volume,source=named,target=/mv,readonly", "--mount", "type=tmpfs,target=/mt", "busybox",
    ).out.strip()  # fmt: skip
    shown = place.api("GET", f"/containers/{ident}/json").body
    rows = {one["Destination"]: (one["Type"], one.get("Name", "")[:5], one["Mode"], one["RW"], one["Propagation"],
                                 one.get("Driver", "")) for one in shown["Mounts"]}  # fmt: skip
    anonymous = rows.pop("/anon")
    assert (anonymous[0], anonymous[3], anonymous[5]) == ("volume", True, "local")
    assert rows == {
        "/b": ("bind", "", "ro", False, "rprivate", ""), "/v": ("volume", "named", "z", True, "", "local"),
        "/m": ("bind", "", "", False, "rslave", ""), "/mv": ("volume", "named", "z", False, "", "local"),
        "/mt": ("tmpfs", "", "", True, "", ""),
    }  # fmt: skip
    assert shown["HostConfig"]["Tmpfs"] == {"/t": "size=1m"}
    assert json.dumps(shown["HostConfig"]["Mounts"]).count('"Target"') == 3
