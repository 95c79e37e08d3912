"""What the world says: the Hub's REST API and the cluster's pods, and the diff that finds drift.

Called by ``service.checker``.
"""
