"""The stages of the pipeline; ``dvc.yaml`` says in which order they run."""
