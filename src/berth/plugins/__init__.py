"""Docker's plugin protocol, version 1: finding plugins of any kind and calling them."""
