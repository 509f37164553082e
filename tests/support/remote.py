"""Another host, as a namespace joined to an engine's by a cable."""

from tests.support.engines import Engine, Namespaces


class Remote:
    """Another host: a namespace joined to the engine's by a cable."""

    def __init__(self, engine: Engine) -> None:
        self.spaces = Namespaces(mounts=False)
        inside = str(self.spaces.pid)
        engine.host("ip", "link", "add", "cable0", "type", "veth", "peer", "name", "cable1", "netns", inside)
        engine.host("ip", "addr", "add", "203.0.113.1/24", "dev", "cable0")
        engine.host("ip", "link", "set", "cable0", "up")
        self.spaces.run("ip", "addr", "add", "203.0.113.2/24", "dev", "cable1")
        self.spaces.run("ip", "link", "set", "cable1", "up")
        self.spaces.run("ip", "route", "add", "default", "via", "203.0.113.1")

    def fetch(self, url: str, *, limit_s: int = 30) -> str:
        """Return what is there; nothing if no answer comes within `limit_s`: less where none is to come."""
        return self.spaces.run("curl", "-s", "-m", str(limit_s), url, check=False).out

    def close(self, engine: Engine) -> None:
        engine.host("ip", "link", "del", "cable0", check=False)
        self.spaces.close()
