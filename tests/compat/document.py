"""The commands of the document "Docker networks and volumes", word for word and in its order, under titles of our own.

Only what is in angle brackets is filled in. Both Compose files are the document's, unchanged.
"""

from typing import Final

CREATE_NETWORK: Final = "docker network create my_network"
LIST_NETWORKS: Final = "docker network ls"
INSPECT_NETWORK: Final = "docker network inspect my_network"
RUN_ON_NETWORK: Final = "docker run -d --network my_network my_image"
CONNECT: Final = "docker network connect my_network <container_id>"
DISCONNECT: Final = "docker network disconnect my_network <container_id>"
REMOVE_NETWORK: Final = "docker network rm my_network"

CREATE_VOLUME: Final = "docker volume create my_volume"
LIST_VOLUMES: Final = "docker volume ls"
INSPECT_VOLUME: Final = "docker volume inspect my_volume"
REMOVE_VOLUME: Final = "docker volume rm my_volume"
RUN_WITH_VOLUME: Final = "docker run -d -v my_volume:/app/data my_image"
RUN_WITH_BIND: Final = "docker run -d -v /host/path:/container/path my_image"
BACK_UP: Final = "docker run --rm -v my_volume:/data -v $(pwd):/backup alpine tar czf /backup/backup.tar.gz /data"
RESTORE: Final = "docker run --rm -v my_volume:/data -v $(pwd):/backup alpine tar xzf /backup/backup.tar.gz -C /data"
CREATE_WITH_DRIVER: Final = "docker volume create --driver <driver_name> my_volume"

COMPOSE_NETWORKS: Final = """\
version: '3'
services:
  web:
    image: nginx
    networks:
      - my_network
  db:
    image: postgres
    networks:
      - my_network

networks:
  my_network:
    driver: bridge
"""

COMPOSE_VOLUMES: Final = """\
version: '3'
services:
  web:
    image: nginx
    volumes:
      - my_volume:/usr/share/nginx/html
  db:
    image: postgres
    volumes:
      - my_volume:/var/lib/postgresql/data

volumes:
  my_volume:
"""
