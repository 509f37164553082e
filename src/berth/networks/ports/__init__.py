"""Published ports: what is wanted, which host port each gets, and the sockets that hold them."""
