"""The command line's commands, one module each with ``register(app)``."""
