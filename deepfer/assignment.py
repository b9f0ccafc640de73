"""Optimal assignment by the Hungarian method."""

from __future__ import annotations

import numpy as np


def assign(fit: np.ndarray) -> list[tuple[int, int]]:
    """The (row, column) pairs with the largest sum of `fit`, each row and column at most once, without pairs of fit 0.

    Args:
        fit: float64 `(R, C)`, not negative.

    It uses shortest augmenting paths (Jonker and Volgenant 1987).
    """
    if fit.shape[0] > fit.shape[1]:
        return [(row, column) for column, row in assign(fit.T)]
    rows, columns = fit.shape
    by_row, by_column = np.zeros(rows), np.zeros(columns + 1)  # the dual variables
    row_of = np.full(columns + 1, -1)  # each column's row; the extra last column holds the row being assigned
    for row in range(rows):
        row_of[columns] = row
        column = columns
        shortest = np.full(columns, np.inf)
        previous = np.full(columns, columns)
        visited = np.zeros(columns + 1, bool)
        while row_of[column] >= 0:
            visited[column] = True
            reached = row_of[column]
            length = -fit[reached] - by_row[reached] - by_column[:columns]
            shorter = ~visited[:columns] & (length < shortest)
            shortest[shorter], previous[shorter] = length[shorter], column
            # Among equally near columns, prefer a free one; otherwise the search would visit all assigned ones first.
            nearest = int(np.where(visited[:columns], np.inf, shortest + 1e-12 * (row_of[:columns] >= 0)).argmin())
            step = shortest[nearest]
            by_row[row_of[visited]] += step
            by_column[visited] -= step
            shortest[~visited[:columns]] -= step
            column = nearest
        while column != columns:
            row_of[column] = row_of[previous[column]]
            column = int(previous[column])
    return [(int(row), column) for column, row in enumerate(row_of[:columns]) if row >= 0 and fit[row, column] > 0]
