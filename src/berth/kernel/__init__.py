"""The only package that touches the system: ctypes, subprocesses, netlink, mounts. Implements the steps."""
