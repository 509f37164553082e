"""Address management: which subnet a network gets, which address an endpoint. Pure arithmetic."""
