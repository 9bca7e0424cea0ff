"""The client: requests, answers, and what they cost."""
