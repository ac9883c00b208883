"""What coordinator, workers and clients tell each other: values, and how they travel over pipes and sockets."""
