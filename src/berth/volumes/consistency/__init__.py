"""What makes the users of a volume hold still while its data is read: see `still` for how to use it."""
