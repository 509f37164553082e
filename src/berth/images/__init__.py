"""Images: names, what the image store holds, transfers, and images made from the machine's own packages."""
