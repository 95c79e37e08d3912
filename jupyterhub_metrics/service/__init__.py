"""The service: takes in the Hub's events and shows people their own usage.

Started by the Hub as a managed service, or on its own with ``python -m
jupyterhub_metrics.service``. Needs the ``service`` extra.
"""
