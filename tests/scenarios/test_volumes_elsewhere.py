"""What this machine's kernel may lack, in one that has it: project quotas, NFS, CIFS, growing ext4."""

import json
import shutil
from pathlib import Path

import pytest

from tests.scenarios.inside import volumes_elsewhere
from tests.support import uml

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What became of each test there: nothing, or a traceback."""
    if reason := uml.is_missing():
        pytest.skip(reason)
    if shutil.which("ganesha.nfsd") is None:
        pytest.skip("needs ganesha.nfsd (Debian: apt-get install nfs-ganesha nfs-ganesha-vfs)")
    if not (volumes_elsewhere.smbd() and shutil.which("smbpasswd")):
        pytest.skip("needs smbd and smbpasswd (scripts/setup tests gets them)")
    place = tmp_path_factory.mktemp("volumes")
    place.chmod(0o755)
    ran = uml.run(Path(volumes_elsewhere.__file__), place, modules=volumes_elsewhere.MODULES)
    assert ran.code == 0, ran.err
    found: dict[str, str] = json.loads(ran.out.splitlines()[-1])
    return found


@pytest.mark.parametrize("name", [test.__name__ for test in volumes_elsewhere.TESTS])
def test_in_a_kernel_that_has_them(told: dict[str, str], name: str) -> None:
    assert told[name] == "", told[name]
