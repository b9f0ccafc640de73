"""DeepFER and other libraries side by side: see `benchmarks.peers.__main__`."""
