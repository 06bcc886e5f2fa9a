"""How sweeps stand, and ending them."""
