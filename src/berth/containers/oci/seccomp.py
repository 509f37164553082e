"""Turns a seccomp profile in Docker's form (rules for several machines and capabilities) into the OCI form. Pure."""

from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from berth.base.errors import InvalidArgument

#: uname's machine → name in profiles' ``arches`` and architecture constant (moby profiles/seccomp).
MACHINES: Final[Mapping[str, tuple[str, str]]] = {
    "x86_64": ("amd64", "SCMP_ARCH_X86_64"),
    "aarch64": ("arm64", "SCMP_ARCH_AARCH64"),
    "armv7l": ("arm", "SCMP_ARCH_ARM"),
    "ppc64le": ("ppc64le", "SCMP_ARCH_PPC64LE"),
    "s390x": ("s390x", "SCMP_ARCH_S390X"),
    "riscv64": ("riscv64", "SCMP_ARCH_RISCV64"),
    "i686": ("386", "SCMP_ARCH_X86"),
}


class BadProfile(InvalidArgument):
    """A seccomp profile cannot be read."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"Decoding seccomp profile failed: {reason}")


class _Condition(msgspec.Struct, rename="camel"):
    caps: list[str] | None = None
    arches: list[str] | None = None
    min_kernel: str | None = None


class _Rule(msgspec.Struct, rename="camel"):
    action: str
    names: list[str] | None = None
    name: str | None = None
    args: list[dict[str, Any]] | None = None
    includes: _Condition | None = None
    excludes: _Condition | None = None
    errno_ret: int | None = None


class _ArchMap(msgspec.Struct, rename="camel"):
    architecture: str
    sub_architectures: list[str] | None = None


class Profile(msgspec.Struct, rename="camel"):
    """A profile as written in a file."""

    default_action: str
    default_errno_ret: int | None = None
    architectures: list[str] | None = None
    arch_map: list[_ArchMap] | None = None
    syscalls: list[_Rule] | None = None
    listener_path: str | None = None
    flags: list[str] | None = None


def parse(text: bytes | str) -> Profile:
    """Read a profile. Raises `BadProfile`."""
    try:
        return msgspec.json.decode(text, type=Profile)
    except msgspec.DecodeError as exc:
        raise BadProfile(str(exc)) from None


def compiled(profile: Profile, machine: str, kernel: tuple[int, int], caps: Collection[str]) -> dict[str, Any]:
    """Keep the rules that hold on this machine and kernel for a process with these capabilities."""
    arch, constant = MACHINES.get(machine, (machine, ""))
    spec: dict[str, Any] = {"defaultAction": profile.default_action}
    if profile.default_errno_ret is not None:
        spec["defaultErrnoRet"] = profile.default_errno_ret
    if profile.architectures:
        spec["architectures"] = list(profile.architectures)
    for entry in profile.arch_map or ():
        if entry.architecture == constant:
            spec["architectures"] = [constant, *(entry.sub_architectures or ())]
    if profile.flags:
        spec["flags"] = list(profile.flags)
    spec["syscalls"] = [
        _rendered(rule)
        for rule in profile.syscalls or ()
        if (rule.names or rule.name) and _applies(rule, arch, kernel, caps)
    ]
    return spec


def _applies(rule: _Rule, arch: str, kernel: tuple[int, int], caps: Collection[str]) -> bool:
    yes, no = rule.includes or _Condition(), rule.excludes or _Condition()
    if yes.arches and arch not in yes.arches:
        return False
    if yes.caps and not set(yes.caps) <= set(caps):
        return False
    if yes.min_kernel and kernel < _version(yes.min_kernel):
        return False
    return not (
        (no.arches and arch in no.arches)
        or (no.caps and set(no.caps) & set(caps))
        or (no.min_kernel and kernel >= _version(no.min_kernel))
    )


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    try:
        return int(major), int(minor.partition(".")[0] or 0)
    except ValueError:
        raise BadProfile(f"minKernel {text!r} is no version") from None


def _rendered(rule: _Rule) -> dict[str, Any]:
    wire: dict[str, Any] = {"names": rule.names or [rule.name], "action": rule.action}
    if rule.errno_ret is not None:
        wire["errnoRet"] = rule.errno_ret
    if rule.args:
        wire["args"] = rule.args
    return wire
