"""Where languages meet inside a model, and what alignment does to it. Tensors in, figures out."""
