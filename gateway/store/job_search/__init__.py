"""Jobs of a filter in the order of their ids, at the same price at any depth."""
