"""The bundled multi-task SAC trainer on Meta-World."""
