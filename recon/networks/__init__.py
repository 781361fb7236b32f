"""What a checkpoint fits: pure torch modules, one file per network."""
