"""Training: load data, explore, augment, fit, evaluate, export and publish. Imports `deepfer`, never the other way."""
