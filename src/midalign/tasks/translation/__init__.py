"""Translation: its directions, the prompt, and BLEU and chrF++ of the answers."""
