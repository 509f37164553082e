"""Mount points of containers: parsing what a user asked for, order, and the entries the OCI runtime gets."""
