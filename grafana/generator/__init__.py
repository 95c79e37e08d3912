"""Writes the Grafana dashboards: ``python -m generator`` in ``grafana/`` writes ``dashboards/``.

One module for each dashboard; :mod:`.panels` says what a panel looks like, :mod:`.sources` where
its data comes from, :mod:`.board` how panels become a dashboard. The types are those of Grafana
10.1, which later versions import. SQL is in ``sql/dashboards/``.
"""
