"""Makes a container: everything is checked, volumes and networks are asked, the record is written last.

Must not: touch a process; nothing of a container is in the kernel before its first start.
"""

import os

import msgspec

from berth.base.aio import finish, in_thread
from berth.base.clock import Clock
from berth.base.errors import InvalidArgument, NotFound
from berth.base.ids import new_id
from berth.base.names import is_restricted_name
from berth.containers import modes, options
from berth.containers.errors import BadName, OtherPlatform
from berth.containers.forewarning import unwritable
from berth.containers.launch import Launcher
from berth.containers.model import ContainerRecord
from berth.containers.parts import ImagePart, NetworkPart, VolumePart
from berth.containers.register import Register
from berth.containers.surroundings import Host
from berth.images.manifest import Platform, parse_platform, suits
from berth.networks.model import Tenant
from berth.networks.ports import sources
from berth.volumes.mounts.model import MountPoint
from berth.volumes.mounts.parse import inherit, parse_volumes_from
from berth.wire.containers import ContainerCreate, HostConfig, config_of
from berth.wire.networks import EndpointSettings


def checked_name(name: str) -> str:
    """Return a container's name without the slash some clients put in front. Raises `BadName`."""
    bare = name.removeprefix("/")
    if bare and not is_restricted_name(bare):
        raise BadName(name)
    return bare


class Creator:
    """Makes containers."""

    def __init__(
        self,
        *,
        register: Register,
        launcher: Launcher,
        host: Host,
        images: ImagePart,
        networks: NetworkPart,
        volumes: VolumePart,
        clock: Clock,
    ) -> None:
        self._register = register
        self._launcher = launcher
        self._host = host
        self._images = images
        self._networks = networks
        self._volumes = volumes
        self._clock = clock

    async def make(self, name: str, want: ContainerCreate, platform: str = "") -> tuple[ContainerRecord, list[str]]:
        """Make a container; return its record and warnings."""
        if not want.image:
            raise InvalidArgument(
                "config: image cannot be empty: Config cannot be empty in order to create a container"
            )
        wanted_name = checked_name(name)
        image = self._images.resolve(want.image)
        if platform:
            has, asked = (
                Platform(image.os, image.architecture, image.variant),
                parse_platform(platform, Platform("linux")),
            )
            if not suits(has, asked):
                raise OtherPlatform(want.image, str(has), str(asked))
        config = options.checked_config(options.merged(config_of(want), image.config))
        host = options.checked_host_config(want.host_config, self._host.cpus)
        modes.check_network_mode(config_of(want), host)
        path, args = options.command(config)
        ident = new_id()
        record = ContainerRecord(
            id=ident,
            name=wanted_name,
            created_ns=self._clock.now_ns(),
            image_id=image.id,
            image_ref=want.image,
            config=msgspec.structs.replace(config, hostname=config.hostname or self._hostname(ident, host)),
            host_config=msgspec.structs.replace(
                host,
                runtime=options.checked_runtime(host.runtime, self._launcher.runtime.name),
                cgroupns_mode=host.cgroupns_mode or ("private" if self._host.groups.version == 2 else "host"),
            ),
            path=path,
            args=args,
            layers=image.layers,
        )
        record = msgspec.structs.replace(record, name=self._register.take_name(wanted_name, ident))
        try:
            with self._register.claim(ident, image.id):
                made = await self._furnished(record, want)
        except BaseException:
            self._register.give_back_name(record.name, ident)
            raise
        said = [*self._limits_ignored(host), *self._networks.forewarn(host.network_mode)]
        return made, [*said, *await unwritable(self._volumes, made, made.mounts)]

    async def _furnished(self, record: ContainerRecord, want: ContainerCreate) -> ContainerRecord:
        host = record.host_config
        inherited = self._inherited(host)
        points = await self._volumes.resolve(record.id, host, list(record.config.volumes or {}), inherited)
        record = msgspec.structs.replace(record, mounts=points)
        try:
            await self._networks.declare(self._tenant(record, want))
            await in_thread(self._launcher.make_directories, record)
            await self._register.put(record)
        except BaseException:
            await finish(self._unmake(record))
            raise
        return record

    async def _unmake(self, record: ContainerRecord) -> None:
        await self._networks.forget(record.id)
        await self._volumes.release(record.id, record.mounts, remove_anonymous=True)
        await self._launcher.remove_directory(record.id)

    def _inherited(self, host: HostConfig) -> list[MountPoint]:
        points: list[MountPoint] = []
        for text in host.volumes_from or ():
            ref, mode = parse_volumes_from(text)
            try:
                donor = self._register.find(ref)
            except NotFound as exc:
                raise InvalidArgument(str(exc)) from None
            points += inherit(donor.mounts, mode)
        return points

    def _tenant(self, record: ContainerRecord, want: ContainerCreate) -> Tenant:
        config, host = record.config, record.host_config
        mode = host.network_mode
        kind, colon, ref = mode.partition(":")
        if kind == "container" and colon:
            # Names may change hands: keep the id of the one that was meant.
            try:
                mode = f"container:{self._register.find(ref).id}"
            except NotFound:
                mode = host.network_mode
        for text in host.links or ():
            try:
                other = self._register.find(text.partition(":")[0])
            except NotFound as exc:
                raise InvalidArgument(f"could not get container for {text.partition(':')[0]}: {exc}") from None
            if other.host_config.network_mode == "host" and mode in ("default", "bridge"):
                raise InvalidArgument(
                    "conflicting options: host type networking can't be used with links. "
                    "This would result in undefined behavior"
                )
        exposed = {*(config.exposed_ports or {}), *(host.port_bindings or {})}
        endpoints = want.networking_config.endpoints or {}
        return Tenant(
            container_id=record.id,
            name=record.name,
            hostname=config.hostname,
            domainname=config.domainname,
            mode="none" if config.network_disabled else mode,
            endpoints={name: settings or EndpointSettings() for name, settings in endpoints.items()},
            port_bindings=host.port_bindings or {},
            publish_from=sources.parse(config.labels or {}),
            publish_all_ports=host.publish_all_ports,
            exposed_ports=tuple(sorted(exposed)),
            dns=tuple(host.dns or ()),
            dns_options=tuple(host.dns_options or ()),
            dns_search=tuple(host.dns_search or ()),
            extra_hosts=tuple(host.extra_hosts or ()),
            links=tuple(host.links or ()),
            mac_address=config.mac_address,
            sysctls=dict(host.sysctls or {}),
        )

    def _hostname(self, ident: str, host: HostConfig) -> str:
        if host.network_mode == "host" or host.uts_mode == "host":
            return os.uname().nodename
        return ident[:12]

    def _limits_ignored(self, host: HostConfig) -> list[str]:
        warnings = []
        if host.memory_swap > 0 and not self._host.has_swap:
            warnings.append(
                "Your kernel does not support swap limit capabilities or the cgroup is not mounted. "
                "Memory limited without swap."
            )
        if host.network_mode == "host" and host.port_bindings:
            warnings.append("Published ports are discarded when using host network mode")
        if host.init and self._host.init is None:
            warnings.append("No init program is installed; install tini")
        return warnings
