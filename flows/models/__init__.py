"""Real models: where they come from, how they are fetched, and their float reference."""
