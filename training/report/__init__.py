"""What evaluation produces: metrics, plots, tables and model cards."""
