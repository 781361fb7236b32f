"""Metrics, scene loaders, the report."""
