"""Makes the Hub that loads this file record itself.

For ``load_subconfig``, or to be linked into a ``jupyterhub_config.d`` folder. Let it come last.
"""

from jupyterhub_metrics.hub import setup

setup(c)  # noqa: F821 - JupyterHub's configuration loader provides c
