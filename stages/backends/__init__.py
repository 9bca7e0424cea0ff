"""What a backend declares of itself, and the registry that finds the declarations."""
