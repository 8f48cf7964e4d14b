"""Commands about tenants and their credentials."""
