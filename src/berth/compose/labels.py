"""The labels Compose writes on everything it makes.

Other tools read them, so they are written exactly as Docker Compose does.
"""

from typing import Final

PROJECT: Final = "com.docker.compose.project"
SERVICE: Final = "com.docker.compose.service"
VERSION: Final = "com.docker.compose.version"
CONFIG_HASH: Final = "com.docker.compose.config-hash"
NUMBER: Final = "com.docker.compose.container-number"
ONEOFF: Final = "com.docker.compose.oneoff"
SLUG: Final = "com.docker.compose.slug"
IMAGE: Final = "com.docker.compose.image"
DEPENDS_ON: Final = "com.docker.compose.depends_on"
WORKING_DIR: Final = "com.docker.compose.project.working_dir"
CONFIG_FILES: Final = "com.docker.compose.project.config_files"
ENVIRONMENT_FILE: Final = "com.docker.compose.project.environment_file"
REPLACE: Final = "com.docker.compose.replace"
NETWORK: Final = "com.docker.compose.network"
VOLUME: Final = "com.docker.compose.volume"
