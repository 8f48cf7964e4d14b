"""How pages show values: words, states, JSON, phases and charts. Pure."""
