"""Addresses from the DHCP server of the network that containers are on."""
