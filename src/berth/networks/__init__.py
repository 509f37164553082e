"""Networks: what containers reach each other through."""
