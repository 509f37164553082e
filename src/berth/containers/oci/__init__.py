"""The OCI runtime specification of a container, made from its record. Pure."""
