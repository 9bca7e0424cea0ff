"""Stage ``compare``: figures, correctness gate, guardrail, selection."""
