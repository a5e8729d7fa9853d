"""Translation pairs in the forms that people have them."""

from midalign.pair_files.sources import content_of, pair_lists, pair_records

__all__ = ["content_of", "pair_lists", "pair_records"]
