"""Network drivers: what differs between kinds of networks."""
