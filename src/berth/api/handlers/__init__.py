"""One module per noun; each handler parses, calls the service, renders."""
