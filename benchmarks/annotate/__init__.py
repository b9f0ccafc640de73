"""Measurements of `deepfer.annotate`: throughput, what the driver can do, and long runs that are killed."""
