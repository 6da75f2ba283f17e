"""Actor and critic architectures of the trainer."""
