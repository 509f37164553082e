"""Where the engine keeps backups by itself: a directory of its machine, a bucket, a repository of restic's."""
