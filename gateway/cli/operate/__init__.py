"""Commands for operators, straight on the settings and the database."""
