"""The job graph: operators chained into vertices, exchanges between them, parallelism; made from a plan by lowering."""
