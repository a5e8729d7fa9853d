"""Middle-layer representation alignment for cross-lingual transfer (arXiv 2502.14830), on stock TRL."""

__version__ = "0.1.0"
__all__ = ["MidAlignConfig", "MidAlignTrainer"]


def __getattr__(name):
    """The two names for Python, imported when they are asked for: torch and TRL take seconds."""
    if name == "MidAlignConfig":
        from midalign.config import MidAlignConfig as found
    elif name == "MidAlignTrainer":
        from midalign.training.trainer import MidAlignTrainer as found
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found


def __dir__():
    return [*globals(), *__all__]
