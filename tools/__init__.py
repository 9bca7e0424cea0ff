"""Commands beside the pipeline; no stage imports them."""
