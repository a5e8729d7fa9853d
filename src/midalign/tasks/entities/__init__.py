"""Named entities: Universal NER's treebanks, the prompts, the answer as JSON, and its score."""
