"""Cycle model: how many cycles the RTL takes, exactly."""
