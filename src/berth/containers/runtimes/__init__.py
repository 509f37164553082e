"""OCI runtimes: the programs that make a container out of a bundle."""
