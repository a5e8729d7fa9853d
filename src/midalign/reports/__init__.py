"""What runs have logged, scored and been made from, side by side on one page."""
