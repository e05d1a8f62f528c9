"""What the hardware computes, operator by operator, in exact integers."""
