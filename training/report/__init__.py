"""Reports: metrics, plots, tables and model cards."""
