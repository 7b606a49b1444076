"""What can be measured of a model and its engine, on any machine."""
