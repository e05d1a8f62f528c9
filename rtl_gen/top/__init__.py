"""Tops: what a user instantiates, and their registers.

Nothing is imported here: registers are read where no hardware is described, and describing hardware
takes longer to load than a command takes to refuse a file.
"""
