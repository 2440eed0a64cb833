"""edge-agent: watches a shop's cameras and reports to the city's command centre."""

__version__ = "0.1.0"
