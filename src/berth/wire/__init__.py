"""The Docker Engine API's JSON as typed records: one truth about field names, for server and clients. Pure."""
