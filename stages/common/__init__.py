"""What every room may use: errors, files, shell, git, numbers."""
