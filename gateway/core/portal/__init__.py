"""What a link into the portal may carry: its pages, its look, and the address to go back to."""
