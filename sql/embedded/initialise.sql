CREATE DATABASE jupyterhub_metrics;
