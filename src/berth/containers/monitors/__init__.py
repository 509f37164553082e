"""What supervises a container's process: its standard streams, its exit, its log."""
