"""What sources and sinks must do, as abstract classes, and the values that they exchange with the engine."""
