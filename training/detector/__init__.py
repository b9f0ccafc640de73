"""The face detector that ships with deepfer: its data, network, training, evaluation and export."""
