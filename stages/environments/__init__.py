"""The servers' Python environments: where they come from and how they are built."""
