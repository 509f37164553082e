"""How the world talks to the engine: HTTP over a unix socket, the Docker Engine API."""
