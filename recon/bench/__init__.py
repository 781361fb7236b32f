"""How long runs and networks take, and how much memory."""
