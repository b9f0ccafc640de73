"""Training: load data, explore, augment, fit, evaluate, export and publish. `deepfer` never imports `training`."""
