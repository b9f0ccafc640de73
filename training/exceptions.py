"""The expected errors of training. Each message is one line that says what to change."""


class DataError(ValueError):
    """A dataset, or a file made from one, cannot be used."""


class KerasFileError(ValueError):
    """A Keras file cannot be used."""


class ParityError(Exception):
    """An exported file predicts differently from the model that it was made from."""


class PublishError(Exception):
    """Nothing was published."""
