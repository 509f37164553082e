"""What may pass between networks, the host and outside: one nftables table, written whole or by element. Pure."""
