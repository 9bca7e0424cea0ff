"""Stage `oracle`: an independent score for a seeded sample of the prompts."""
