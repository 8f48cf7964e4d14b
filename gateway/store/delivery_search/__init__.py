"""Search for deliveries by a filter, in the order of their ids."""
