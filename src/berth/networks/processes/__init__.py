"""What the small processes beside the daemon share: a bare loop, a control socket, a keeper that revives them."""
