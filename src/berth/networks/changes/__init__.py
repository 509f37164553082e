"""Changes of networks that are in use: containers stay connected and follow."""
