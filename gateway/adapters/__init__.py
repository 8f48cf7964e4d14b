"""One vendor a file: the ports, on real libraries."""
