"""Models: loading, the embedded one, what a recipe or folder stands for, and the memory a step needs."""
