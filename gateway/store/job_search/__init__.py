"""Search for jobs by a filter, in the order of their ids. A page costs the same at any depth."""
