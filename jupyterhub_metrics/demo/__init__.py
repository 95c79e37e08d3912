"""A whole Hub with a simulated past, in one command: ``jupyterhub-metrics demo``."""
