"""Images made from this machine's Debian packages, for machines that reach no registry."""
