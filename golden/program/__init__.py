"""What an array is sent: streams of words and the plan that they follow, as data."""
