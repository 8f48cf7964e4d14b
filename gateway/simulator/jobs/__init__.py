"""The jobs of the simulator: their table, scripts and workflows."""
