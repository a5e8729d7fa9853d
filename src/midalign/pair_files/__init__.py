"""Translation pairs in the forms that people have them."""

from midalign.pair_files.sources import pair_records

__all__ = ["pair_records"]
