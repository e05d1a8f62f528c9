"""Studies behind the benches: what was tried, and applications beside transformers."""
