"""Bit-exact numpy model: number formats, block formats, plan, cycle model."""
