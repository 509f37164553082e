"""The vocabulary of atomic changes: data only, one module per family of system calls."""
