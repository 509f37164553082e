"""How change is described (steps, plans) and carried out (run, journal)."""
