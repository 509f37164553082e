"""Where the engine keeps things. The only module that makes paths below the two roots. Pure."""

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

DEFAULT_DATA_ROOT: Final = Path("/var/lib/berth")
DEFAULT_EXEC_ROOT: Final = Path("/run/berth")


@dataclass(frozen=True)
class Layout:
    """The two roots: `data_root` survives a reboot, `exec_root` must be on tmpfs and does not."""

    data_root: Path = DEFAULT_DATA_ROOT
    exec_root: Path = DEFAULT_EXEC_ROOT

    @cached_property
    def instance(self) -> str:
        """Mark of this engine in every kernel name it owns: empty for the default, else 4 hex digits."""
        if self.exec_root == DEFAULT_EXEC_ROOT:
            return ""
        return hashlib.sha256(str(self.exec_root).encode()).hexdigest()[:4]

    @property
    def nft_table(self) -> str:
        """Name of the nftables table of family inet that this engine owns."""
        return f"berth_{self.instance}" if self.instance else "berth"

    @property
    def default_bridge(self) -> str:
        """Name of the default network's bridge link."""
        return f"berth{self.instance}" if self.instance else "berth0"

    @property
    def veth_prefix(self) -> str:
        """Start of the host-side name of each container link; 7 characters at most of 15."""
        return f"bv{self.instance or '0'}-"

    @property
    def cgroup_parent(self) -> str:
        """Cgroup under which containers without a parent of their own are put."""
        return f"/berth-{self.instance}" if self.instance else "/berth"

    @property
    def database(self) -> Path:
        """Durable records."""
        return self.data_root / "berth.db"

    @property
    def runtime_database(self) -> Path:
        """Records that mean nothing after a reboot."""
        return self.exec_root / "runtime.db"

    @property
    def journal(self) -> Path:
        """Directory of unfinished plans."""
        return self.exec_root / "journal"

    @property
    def socket(self) -> Path:
        """The API's socket unless a flag says otherwise."""
        return self.exec_root / "berth.sock"

    @property
    def dns_socket(self) -> Path:
        """Control socket of the name server."""
        return self.exec_root / "dns.sock"

    @property
    def plugins(self) -> Path:
        """Directory of sockets of plugins for this engine alone."""
        return self.exec_root / "plugins"

    @property
    def proxy_socket(self) -> Path:
        """Control socket of the port proxy."""
        return self.exec_root / "proxy.sock"

    @property
    def images(self) -> Path:
        """Root of the image store: blobs, layers, records of images, what is arriving."""
        return self.data_root / "images"

    @property
    def arriving(self) -> Path:
        """Scratch space of images, on the disk of the store; emptied at start."""
        return self.images / "arriving"

    @property
    def skopeo(self) -> Path:
        """Configuration and home directory of skopeo."""
        return self.exec_root / "skopeo"

    @property
    def volumes(self) -> Path:
        """Directory of the local driver's volumes."""
        return self.data_root / "volumes"

    @property
    def volumes_seen(self) -> Path:
        """What is known of volumes and can be found out again: sizes, last uses."""
        return self.data_root / "volumes-seen.json"

    @property
    def volumes_resting(self) -> Path:
        """Sizes of snapshots and removed volumes, which can be found out again."""
        return self.data_root / "volumes-resting.json"

    @property
    def volume_holders(self) -> Path:
        """Directory that says which running containers hold a volume that had to be mounted."""
        return self.exec_root / "volumes"

    @property
    def holds(self) -> Path:
        """Directory that says which containers an operation on their volumes has paused."""
        return self.exec_root / "holds"

    @property
    def lasting_holds(self) -> Path:
        """Directory that says which containers such an operation has stopped."""
        return self.data_root / "holds"

    @property
    def temporary(self) -> Path:
        """Scratch space on the data disk; emptied at start."""
        return self.data_root / "tmp"

    @property
    def changes(self) -> Path:
        """Directory of what is yet to be written down of networks' changes."""
        return self.data_root / "changes"

    @property
    def namespaces(self) -> Path:
        """Directory the network namespaces are pinned in."""
        return self.exec_root / "netns"

    @property
    def runtime_root(self) -> Path:
        """State directory of the OCI runtime (``--root``)."""
        return self.exec_root / "oci"

    def container(self, ident: str) -> Path:
        """Durable directory of one container: upper and work layer, log, hosts files."""
        return self.data_root / "containers" / ident

    def bundle(self, ident: str) -> Path:
        """Run-time directory of one container: OCI bundle, root mount, conmon's sockets."""
        return self.exec_root / "containers" / ident

    def pins(self, ident: str) -> Path:
        """Where the engine holds mounts for one container: parts of volumes, images, files under other owners."""
        return self.bundle(ident) / "pins"
