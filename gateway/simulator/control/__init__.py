"""The routes under /_control, with which tests configure and inspect the simulator."""
