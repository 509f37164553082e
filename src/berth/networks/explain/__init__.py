"""Why does A not reach B? Known and seen → steps, the first that fails, its cause, the command that mends it."""
